// The local transport: a hub inside one process. The same encoded frames travel over it as over NATS; no sockets.

import { systemClock, systemRandom } from '../actor/clock.js'
import { createBusTransport, DEFAULT_MAX_MESSAGE_BYTES, type Bus, type BusMessage } from './bus-transport.js'
import type { Transport } from './transport.js'

const MAX_QUEUED = 65_536 // deliveries under way in the hub
const DEFAULT_MAX_PAYLOAD_BYTES = 8 * 1024 * 1024

interface Subscriber {
  readonly tokens: readonly string[]
  readonly literal: string // what a subject that it is to get begins with
  readonly queue: string | undefined
  readonly handler: (message: BusMessage) => void
  isActive: boolean
}

interface Queued {
  readonly target: Subscriber
  readonly message: BusMessage
}

export interface LocalHub {
  connect(maxPayloadBytes: number): Bus
}

/** Whether a subject matches a pattern: `*` is one token, `>` one or more at the end. */
function matches(pattern: readonly string[], subject: readonly string[]): boolean {
  for (let i = 0; i < pattern.length; i++) {
    const token = pattern[i]
    if (token === '>') return subject.length > i
    if (subject[i] === undefined || (token !== '*' && token !== subject[i])) return false
  }
  return pattern.length === subject.length
}

/** Deliveries happen in later turns of the event loop, in order, a turn's worth at a time. */
export function createLocalHub(later: (run: () => void) => void = setImmediate): LocalHub {
  const exact = new Map<string, Subscriber[]>()
  let patterns: Subscriber[] = []
  let queued: Queued[] = []
  let turn = 0

  const drain = (): void => {
    const batch = queued
    queued = []
    for (const { target, message } of batch) if (target.isActive) target.handler(message)
  }

  const enqueue = (target: Subscriber, message: BusMessage): boolean => {
    if (queued.length >= MAX_QUEUED) return false
    queued.push({ target, message })
    if (queued.length === 1) later(drain)
    return true
  }

  const isMeant = ({ literal, tokens }: Subscriber, subject: string): boolean =>
    subject.startsWith(literal) && matches(tokens, subject.split('.'))

  const receivers = (subject: string): readonly Subscriber[] => {
    const matching = patterns.filter((subscriber) => isMeant(subscriber, subject))
    const all = [...(exact.get(subject) ?? []), ...matching]
    if (all.length < 2) return all
    const groups = new Map<string, Subscriber[]>()
    const chosen: Subscriber[] = []
    for (const subscriber of all) {
      if (subscriber.queue === undefined) chosen.push(subscriber)
      else groups.set(subscriber.queue, [...(groups.get(subscriber.queue) ?? []), subscriber])
    }
    for (const members of groups.values()) chosen.push(...members.slice(turn % members.length).slice(0, 1))
    if (groups.size > 0) turn += 1
    return chosen
  }

  const publish: Bus['publish'] = (subject, payload, reply) => {
    const targets = receivers(subject)
    const copy = new Uint8Array(payload) // the sender may reuse its buffer
    const message = { subject, payload: copy, reply, isNoResponders: false }
    for (const target of targets) enqueue(target, message)
    if (targets.length > 0 || reply === undefined) return true
    const refusal = { subject: reply, payload: new Uint8Array(0), reply: undefined, isNoResponders: true }
    for (const asker of receivers(reply)) enqueue(asker, refusal)
    return true
  }

  const subscribe: Bus['subscribe'] = (subject, handler, queue) => {
    const [literal = ''] = /^[^*>]*/.exec(subject) ?? []
    const isPattern = literal !== subject
    const subscriber: Subscriber = { tokens: subject.split('.'), literal, queue, handler, isActive: true }
    if (isPattern) patterns = [...patterns, subscriber]
    else exact.set(subject, [...(exact.get(subject) ?? []), subscriber])
    return {
      unsubscribe: () => {
        subscriber.isActive = false
        if (isPattern) patterns = patterns.filter((other) => other !== subscriber)
        else
          exact.set(
            subject,
            (exact.get(subject) ?? []).filter((other) => other !== subscriber),
          )
        if (exact.get(subject)?.length === 0) exact.delete(subject)
      },
    }
  }

  return {
    connect: (maxPayloadBytes) => ({
      maxPayloadBytes,
      publish,
      subscribe,
      onDisconnect: () => undefined, // there is no connection to lose
      advertise: () => Promise.resolve(),
      flush: () => new Promise((resolve) => later(resolve)),
      close: () => Promise.resolve(),
    }),
  }
}

/** A connection to a hub. */
export function createLocalTransport(options: {
  readonly hub: LocalHub
  readonly maxPayloadBytes?: number
  readonly maxMessageBytes?: number
}): Transport {
  const bus = options.hub.connect(options.maxPayloadBytes ?? DEFAULT_MAX_PAYLOAD_BYTES)
  return createBusTransport(bus, {
    kind: 'local',
    maxMessageBytes: options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
    clock: systemClock,
    random: systemRandom,
  })
}
