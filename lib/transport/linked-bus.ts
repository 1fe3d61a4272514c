// A bus whose mailboxes can also be reached directly: who asks a mailbox learns over the bus where its process takes
// links, opens one, and from then on sends there what goes to that mailbox. Same messages, one process less between them.
// The bus stays what everything falls back to, and the only way to subjects that several may listen to.
//
// Invariants
//   L1  A message goes by the link or by the bus, never by both.
//   L2  When a link ends, what was asked over it fails at once, and what comes next goes over the bus.
//   L3  A link is only opened with a key that came over the bus.

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { z } from 'zod'
import type { Bus, BusMessage } from './bus-transport.js'
import { openLink, type Link } from './link.js'
import { startLinkServer } from './link-server.js'
import type { LinkMessage } from './link-stream.js'
import type { Subscription } from './transport.js'

const RETRY_MS = 1_000
const LOOPBACK = /^(127\.|::1$|localhost$)/
const EMPTY = new Uint8Array(0)

const doorSchema = z.object({ machine: z.string(), host: z.string(), port: z.number().int(), key: z.string().max(256) })

/** What is known of the way to a mailbox. */
interface Route {
  readonly link: Link | undefined // undefined: over the bus, for now
  readonly retryAtMs: number // when to ask for one again
}

type Handler = (message: BusMessage) => void

/** Who listens in this process, by subject; inboxes without their last token. */
interface Listeners {
  readonly mailboxes: Map<string, Handler>
  readonly inboxes: Map<string, Handler>
}

/** 'a.b.c' → 'a.b' */
const parentOf = (subject: string): string => subject.slice(0, subject.lastIndexOf('.'))
/** A mailbox, or an inbox: only its last token may be a wildcard. */
const isPlain = (subject: string): boolean => !/[*>]/.test(subject.endsWith('.*') ? parentOf(subject) : subject)
const doorSubject = (mailbox: string): string => `${mailbox}.link`

/** Wraps a bus; this process takes links at `host`. Throws `unavailable` where it cannot listen there. */
export async function createLinkedBus(bus: Bus, host: string): Promise<Bus> {
  const listeners: Listeners = { mailboxes: new Map(), inboxes: new Map() }
  const routes = new Map<string, Route>() // mailboxes of others
  const askers = new Map<string, Link>() // inboxes of others
  const links = new Map<string, Promise<Link>>() // by door
  const asked = new Map<string, string>() // questions under way → mailbox
  const inbox = `_INBOX.${randomBytes(11).toString('hex')}`
  let numAsked = 0
  let onLost: (isLost: (subject: string) => boolean) => void = () => undefined

  const accept = ({ kind, subject, reply, payload, isShared = false }: LinkMessage, link: Link): void => {
    if (kind === 'hello') return
    if (reply !== '') askers.set(parentOf(reply), link)
    const handler = listeners.mailboxes.get(subject) ?? listeners.inboxes.get(parentOf(subject))
    const isNoResponders = kind === 'nobody'
    if (handler !== undefined) {
      handler({ subject, payload, isShared, reply: reply === '' ? undefined : reply, isNoResponders })
    } else if (reply !== '') link.send({ kind: 'nobody', subject: reply, reply: '', payload: EMPTY })
  }

  const forget = (link: Link): void => {
    const lost = new Set<string>()
    for (const [subject, route] of routes) {
      if (route.link !== link) continue
      routes.delete(subject)
      lost.add(subject)
    }
    for (const [asker, other] of askers) if (other === link) askers.delete(asker)
    if (lost.size > 0) onLost((subject) => lost.has(subject))
  }

  const server = await startLinkServer(host, { onMessage: accept, onClose: forget })
  const door = Buffer.from(JSON.stringify(server.door))

  /** Asks a mailbox's process for its door; the answer comes to the inbox. */
  const ask = (mailbox: string): void => {
    routes.set(mailbox, { link: undefined, retryAtMs: Date.now() + RETRY_MS })
    const question = `${inbox}.${(numAsked += 1).toString(36)}`
    asked.set(question, mailbox)
    setTimeout(() => asked.delete(question), RETRY_MS).unref()
    bus.publish(doorSubject(mailbox), EMPTY, question)
  }

  const answers = bus.subscribe(`${inbox}.*`, ({ subject, payload, isNoResponders }) => {
    const mailbox = asked.get(subject)
    asked.delete(subject)
    if (mailbox !== undefined && !isNoResponders) void follow(mailbox, payload)
  })

  const follow = async (mailbox: string, payload: Uint8Array): Promise<void> => {
    try {
      const door = doorSchema.parse(JSON.parse(Buffer.from(payload).toString()))
      if (LOOPBACK.test(door.host) && door.machine !== hostname()) return
      const name = `${door.host}:${door.port} ${door.key}`
      const opening = links.get(name) ?? openLink(door, { onMessage: accept, onClose: close(name) })
      links.set(name, opening)
      opening.catch(() => links.delete(name))
      routes.set(mailbox, { link: await opening, retryAtMs: 0 })
    } catch {
      // no way there: the bus goes on, and is asked again later
    }
  }
  const close =
    (name: string) =>
    (link: Link): void => {
      links.delete(name)
      forget(link)
    }

  const linkTo = (subject: string): Link | undefined => {
    const link = routes.get(subject)?.link ?? askers.get(parentOf(subject))
    return link?.isOpen === true ? link : undefined
  }

  return {
    ...bus,
    maxPayloadBytes: bus.maxPayloadBytes,
    publish: (subject, payload, reply) => {
      const link = linkTo(subject)
      if (link !== undefined) return link.send({ kind: 'message', subject, reply: reply ?? '', payload })
      bus.publish(subject, payload, reply)
      if (reply !== undefined && (routes.get(subject)?.retryAtMs ?? 0) < Date.now()) ask(subject)
    },
    subscribe: (subject, handler, queue) => {
      const inner = bus.subscribe(subject, handler, queue)
      if (queue !== undefined || !isPlain(subject)) return inner
      if (subject.endsWith('.*')) return listed(listeners.inboxes, parentOf(subject), handler, inner)
      const asked = bus.subscribe(doorSubject(subject), ({ reply }) => {
        if (reply !== undefined) bus.publish(reply, door)
      })
      return listed(listeners.mailboxes, subject, handler, inner, asked)
    },
    onLate: (subject) => {
      if (routes.has(subject)) routes.set(subject, { link: undefined, retryAtMs: Date.now() + RETRY_MS })
    },
    onDisconnect: (listener) => {
      onLost = listener
      bus.onDisconnect((isLost) => listener((subject) => linkTo(subject) === undefined && isLost(subject)))
    },
    close: async () => {
      answers.unsubscribe()
      server.close()
      for (const opening of links.values()) opening.then((link) => link.close()).catch(() => undefined)
      await bus.close()
    },
  }
}

function listed(
  handlers: Map<string, Handler>,
  subject: string,
  handler: Handler,
  ...subscriptions: readonly Subscription[]
): Subscription {
  handlers.set(subject, handler)
  return {
    unsubscribe: () => {
      for (const subscription of subscriptions) subscription.unsubscribe()
      if (handlers.get(subject) === handler) handlers.delete(subject)
    },
  }
}
