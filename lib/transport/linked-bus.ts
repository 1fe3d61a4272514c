// A bus whose mailboxes can also be reached directly: who asks a mailbox learns over the bus where its process takes
// links, opens one, and from then on sends there what goes to that mailbox. Same messages, one process less between them.
// The bus stays what everything falls back to, and the only way to subjects that several may listen to.
//
// Invariants
//   L1  A message goes by the link or by the bus, never by both.
//   L2  When a link ends, what was asked over it fails at once, and what comes next goes over the bus. A question is
//       answered the way it came: the bus may refuse answers to what it did not bring, and a link may be silent.
//   L3  A link is only opened with a key that came over the bus. It opens the whole process: all its mailboxes.
//   L4  A link over which an answer did not come is given up: it ends when all that was asked over it has its end.

import { hostname } from 'node:os'
import * as z from 'zod'
import { systemRandom } from '../actor/clock.js'
import { newInbox, type Bus, type BusMessage } from './bus-transport.js'
import { openLink, type Link, type LinkDoor } from './link.js'
import { createLinkRoutes } from './link-routes.js'
import { startLinkServer, type LinkPlace } from './link-server.js'
import type { LinkMessage } from './link-stream.js'
import type { Subscription } from './transport.js'

const ANSWER_MS = 1_000
const LOOPBACK = /^(127\.|::1$|localhost$)/
const EMPTY = new Uint8Array(0)

const doorSchema = z.object({ machine: z.string(), host: z.string(), port: z.number().int(), key: z.string().max(256) })

type Handler = (message: BusMessage) => void

/** 'a.b.c' → 'a.b' */
const parentOf = (subject: string): string => subject.slice(0, Math.max(0, subject.lastIndexOf('.')))

/** A mailbox, or an inbox: only its last token may be a wildcard. */
const isPlain = (subject: string): boolean => !/[*>]/.test(subject.endsWith('.*') ? parentOf(subject) : subject)
/** Of the subject at which a mailbox's process tells where it takes links. */
export const DOOR_SUFFIX = '.link'
const doorSubject = (mailbox: string): string => `${mailbox}${DOOR_SUFFIX}`

/** Wraps a bus; this process takes links at `place`. Throws `unavailable` where it cannot listen there. */
export async function createLinkedBus(bus: Bus, place: LinkPlace): Promise<Bus> {
  const routes = createLinkRoutes(Date.now)
  const mailboxes = new Map<string, Handler>() // that this process listens to
  const inboxes = new Map<string, Handler>() // without their last token
  const opened = new Map<string, Promise<Link>>() // by door
  const givenUp = new Set<Link>() // and still open
  let onLost: (isLost: (reply: string) => boolean) => void = () => undefined

  const deliver = ({ kind, subject, reply, payload, isShared = false }: LinkMessage, link: Link): void => {
    const handler = mailboxes.get(subject) ?? inboxes.get(parentOf(subject))
    const isNoResponders = kind === 'nobody'
    if (reply === '') return handler?.({ subject, payload, isShared, reply: undefined, isNoResponders })
    const answer = (kind: LinkMessage['kind'], payload: Uint8Array): boolean =>
      !link.isOpen || link.send({ kind, subject: reply, reply: '', payload }) // L2: at the other end it has failed
    const respond = (payload: Uint8Array): boolean => answer('message', payload)
    if (handler !== undefined) handler({ subject, payload, isShared, reply, respond, isNoResponders })
    else answer('nobody', EMPTY)
  }

  const forget = (link: Link): void => {
    givenUp.delete(link)
    const lost = routes.ended(link)
    if (lost.size > 0) onLost((reply) => lost.has(reply))
  }

  const server = await startLinkServer(place, { onMessage: deliver, onClose: forget })
  const ownDoor = Buffer.from(JSON.stringify(server.door))

  const open = (door: LinkDoor): Promise<Link> => {
    const name = `${door.host}:${door.port} ${door.key}`
    const known = opened.get(name)
    if (known !== undefined) return known
    const ended = (): void => {
      if (opened.get(name) === opening) opened.delete(name) // else given up before, and another stands in its place
    }
    const opening = openLink(door, {
      onMessage: deliver,
      onClose: (link) => {
        ended()
        forget(link)
      },
    })
    opened.set(name, opening)
    opening.catch(ended)
    return opening
  }

  const giveUp = (link: Link): void => {
    routes.distrust(link)
    givenUp.add(link)
    for (const [name, opening] of opened)
      void opening.then(
        (other) => other === link && opened.delete(name),
        () => undefined, // never stood
      )
  }

  const doors = askForDoors(bus, async (mailbox, door) => {
    if (!LOOPBACK.test(door.host) || door.machine === hostname()) routes.stands(mailbox, await open(door))
  })

  return {
    ...bus,
    publish: (subject, payload, reply) => {
      const link = routes.to(subject)
      if (link !== undefined) {
        if (reply !== undefined) routes.sent(reply, link)
        return link.send({ kind: 'message', subject, reply: reply ?? '', payload })
      }
      const isFree = bus.publish(subject, payload, reply)
      if (reply !== undefined && routes.shouldAsk(subject)) doors.ask(subject)
      return isFree
    },
    subscribe: (subject, handler, queue) => {
      if (queue !== undefined || !isPlain(subject)) return bus.subscribe(subject, handler, queue)
      if (subject.endsWith('.*')) return listen(inboxes, parentOf(subject), handler, [bus.subscribe(subject, handler)])
      const overBus = bus.subscribe(subject, handler)
      const atDoor = bus.subscribe(doorSubject(subject), ({ reply }) => answer(bus, reply, ownDoor))
      return listen(mailboxes, subject, handler, [overBus, atDoor])
    },
    onDisconnect: (listener) => {
      onLost = listener
      bus.onDisconnect((isLost) => listener((reply) => !routes.isOverLink(reply) && isLost(reply)))
    },
    onSettled: ({ reply }, outcome) => {
      const link = routes.settled(reply)
      if (link === undefined) return
      if (outcome === 'unanswered') giveUp(link)
      if (givenUp.has(link) && !routes.isBusy(link)) void link.close()
    },
    close: async () => {
      doors.stop()
      await Promise.all([
        server.close(),
        ...[...givenUp].map((link) => link.close()),
        ...[...opened.values()].map((opening) => opening.then((link) => link.close()).catch(() => undefined)),
      ])
      await bus.close()
    },
  }
}

/** Tells who asks where this process takes links. What it cannot tell is asked again. */
function answer(bus: Bus, reply: string | undefined, door: Uint8Array): void {
  if (reply === undefined || reply === '') return
  try {
    bus.publish(reply, door)
  } catch {
    // disconnected at this moment: the asker has the bus, too, and asks again when it is back
  }
}

/** Questions for doors, and their answers. */
function askForDoors(bus: Bus, follow: (mailbox: string, door: LinkDoor) => Promise<void>) {
  const inbox = newInbox(bus, systemRandom)
  const questions = new Map<string, string>() // under way → mailbox
  let numAsked = 0
  const answers = bus.subscribe(`${inbox}.*`, ({ subject, payload, isNoResponders }) => {
    const mailbox = questions.get(subject)
    questions.delete(subject)
    if (mailbox === undefined || isNoResponders) return
    const door = readDoor(payload)
    if (door !== undefined) follow(mailbox, door).catch(() => undefined) // no way there: the bus goes on
  })
  return {
    ask: (mailbox: string): void => {
      const question = `${inbox}.${(numAsked += 1).toString(36)}`
      questions.set(question, mailbox)
      setTimeout(() => questions.delete(question), ANSWER_MS).unref()
      bus.publish(doorSubject(mailbox), EMPTY, question)
    },
    stop: () => answers.unsubscribe(),
  }
}

function readDoor(payload: Uint8Array): LinkDoor | undefined {
  try {
    return doorSchema.parse(JSON.parse(Buffer.from(payload).toString()))
  } catch {
    return undefined // somebody else answered
  }
}

/** Enters a handler for what comes over links, until its subscriptions end. */
function listen(
  handlers: Map<string, Handler>,
  subject: string,
  handler: Handler,
  subscriptions: readonly Subscription[],
): Subscription {
  handlers.set(subject, handler)
  return {
    unsubscribe: () => {
      for (const subscription of subscriptions) subscription.unsubscribe()
      if (handlers.get(subject) === handler) handlers.delete(subject)
    },
  }
}
