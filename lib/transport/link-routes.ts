// What a process knows of direct ways to the mailboxes that it asks.
//
// Invariants
//   W1  A way is one that this process opened: a peer cannot draw messages to itself.
//   W2  What was asked over a link is known until it is settled, so that it fails when the link ends, and only then.

import type { Link } from './link.js'

const RETRY_MS = 1_000

export interface LinkRoutes {
  /** The link for a subject, if one stands. */
  to(subject: string): Link | undefined
  /** Whether a mailbox's process should be asked for its door now; if so, not again for a while. */
  shouldAsk(mailbox: string): boolean
  /** A link to a mailbox stands. */
  stands(mailbox: string, link: Link): void
  /** A link did not serve: for its mailboxes the bus does, for a while. */
  distrust(link: Link): void
  /** A request goes over a link. */
  sent(reply: string, link: Link): void
  /** Returns the link that it went over, if it did. */
  settled(reply: string): Link | undefined
  /** Whether a request is under way over this link. */
  isBusy(link: Link): boolean
  /** Whether a request is under way over some link. */
  isOverLink(reply: string): boolean
  /** Forgets a link; returns the requests that were under way over it. */
  ended(link: Link): ReadonlySet<string>
}

interface Route {
  readonly link: Link | undefined
  readonly askAgainAtMs: number
}

export function createLinkRoutes(now: () => number): LinkRoutes {
  const mailboxes = new Map<string, Route>()
  const requests = new Map<string, Link>() // under way, by reply subject

  const overBus = (mailbox: string): void => {
    mailboxes.set(mailbox, { link: undefined, askAgainAtMs: now() + RETRY_MS })
  }

  const distrust = (link: Link): void => {
    for (const [mailbox, route] of mailboxes) if (route.link === link) overBus(mailbox)
  }

  return {
    to: (subject) => {
      const link = mailboxes.get(subject)?.link
      return link?.isOpen === true ? link : undefined
    },
    shouldAsk: (mailbox) => {
      if ((mailboxes.get(mailbox)?.askAgainAtMs ?? 0) > now()) return false
      overBus(mailbox)
      return true
    },
    stands: (mailbox, link) => void mailboxes.set(mailbox, { link, askAgainAtMs: 0 }),
    distrust,
    sent: (reply, link) => void requests.set(reply, link),
    settled: (reply) => {
      const link = requests.get(reply)
      requests.delete(reply)
      return link
    },
    isBusy: (link) => [...requests.values()].includes(link),
    isOverLink: (reply) => requests.has(reply),
    ended: (link) => {
      distrust(link)
      const lost = [...requests].filter(([, other]) => other === link).map(([reply]) => reply)
      for (const reply of lost) requests.delete(reply)
      return new Set(lost)
    },
  }
}
