// A simulated message broker with NATS' semantics, and the connections of machines to it.
//
// Invariants
//   W1  Messages of a connection keep their order, unless the fault `reordered` is on; across connections nothing is promised.
//   W2  At most once, unless the fault `duplicated` is on; what is under way on a connection that breaks is lost.
//   W3  A request that nobody subscribes to where the broker routes it is answered with "no responders".
//   W4  A partitioned connection holds its bytes, as TCP does: they arrive late, or are lost when it is reset.

import type { Random } from '../../lib/actor/actor.js'
import type { Bus, BusMessage } from '../../lib/transport/bus-transport.js'
import { ClusterError } from '../../lib/errors.js'
import type { EventLog } from './event-log.js'
import type { Machine } from './machine.js'
import { createRouting } from './routing.js'
import type { Timeline } from './timeline.js'

const RECONNECT_MS = 100
const RECONNECT_JITTER_MS = 150
const MAX_HELD = 20_000 // messages; then the broker calls it a slow consumer and cuts it off

/** What befalls a connection. */
export interface LinkFaults {
  latencyMs: number // least
  jitterMs: number // mean of what comes on top
  bytesPerMs: number
  lost: number // probabilities per message
  duplicated: number
  reordered: number
}

/** A service's, to whatever carries its messages. */
export interface Connection {
  readonly bus: Bus
  readonly numSubscriptions: number
  readonly numOpenRequests: number
}

export interface Link extends Connection {
  readonly machine: Machine
  readonly isUp: boolean
  readonly faults: LinkFaults // of now
  readonly usual: LinkFaults
  /** What is not a message: it happens at the broker, or in the machine, unless the connection loses it. */
  toBroker(bytes: number, arrive: () => void): void
  fromBroker(bytes: number, arrive: () => void): void
  /** Nothing passes until it is healed. */
  partition(): void
  /** What was held passes now. */
  heal(): void
  /** Cut, both sides notice; the machine connects again by itself. */
  reset(): void
}

export interface Network {
  connect(machine: Machine): Link
  /** The broker is gone for so long; it forgets all connections. */
  restartBroker(downMs: number): void
  readonly isBrokerUp: boolean
  readonly links: ReadonlyMap<Machine, Link>
}

export interface NetworkOptions {
  readonly timeline: Timeline
  readonly log: EventLog
  readonly random: Random
  readonly maxPayloadBytes: number
  readonly faults: () => LinkFaults // of a new connection
}

interface Subscriber {
  readonly subject: string
  readonly queue: string | undefined
  readonly handler: (message: BusMessage) => void
  isActive: boolean
}

interface Packet {
  readonly bytes: number
  readonly isControl?: boolean // of the connection itself: TCP keeps it
  readonly arrive: () => void
}

export function createNetwork({ timeline, log, random, maxPayloadBytes, faults }: NetworkOptions): Network {
  const links = new Map<Machine, Link & { cut(): void }>()
  const routing = createRouting<Subscriber>(random)
  const deliverTo = new Map<Subscriber, (message: BusMessage) => void>()
  let isBrokerUp = true

  const route = (from: Machine, subject: string, payload: Uint8Array, reply: string | undefined): void => {
    const receivers = routing.receivers(subject)
    for (const receiver of receivers) {
      deliverTo.get(receiver)?.({ subject, payload, reply, isNoResponders: false })
    }
    if (receivers.length > 0 || reply === undefined) return
    log.note(timeline.nowMs, `nobody answers ${subject} asked by ${from.id}`)
    for (const asker of routing.receivers(reply)) {
      deliverTo.get(asker)?.({ subject: reply, payload: new Uint8Array(0), reply: undefined, isNoResponders: true })
    }
  }

  const connect: Network['connect'] = (machine) => {
    const mine: LinkFaults = faults()
    const subscribers = new Set<Subscriber>()
    const openRequests = new Set<string>()
    let onLost: (isLost: (reply: string) => boolean) => void = () => undefined
    let isUp = true
    let connection = 1 // number of the one that stands; what belongs to another is lost
    let held: Packet[] | undefined // while partitioned
    const lastMs = { out: 0, in: 0 }

    /** Sends over the connection, in one direction. */
    const transfer = (direction: 'out' | 'in', fromMs: number, packet: Packet): void => {
      if (packet.isControl === true) return schedule(direction, fromMs, packet)
      if (random() < mine.lost) return log.note(timeline.nowMs, `lost ${direction} ${machine.id}`)
      if (random() < mine.duplicated) schedule(direction, fromMs, packet)
      schedule(direction, fromMs, packet)
    }
    const schedule = (direction: 'out' | 'in', fromMs: number, packet: Packet): void => {
      const jitterMs = -Math.log(1 - random()) * mine.jitterMs
      const travelledMs = fromMs + mine.latencyMs + jitterMs + packet.bytes / mine.bytesPerMs
      const isOvertaken = packet.isControl !== true && random() < mine.reordered
      const dueMs = isOvertaken ? travelledMs + 5 * mine.jitterMs : Math.max(lastMs[direction], travelledMs)
      if (!isOvertaken) lastMs[direction] = dueMs
      const sentOver = connection
      timeline.at(dueMs, () => {
        if (sentOver !== connection) return // W2
        if (held === undefined) return packet.arrive()
        held.push(packet)
        if (held.length > MAX_HELD) reset()
      })
    }

    const register = (subscriber: Subscriber): void =>
      transfer('out', machine.sendMs, {
        bytes: 32,
        isControl: true,
        arrive: () => {
          if (!subscriber.isActive || !subscribers.has(subscriber)) return
          deliverTo.set(subscriber, (message) => deliver(subscriber, message))
          routing.add(subscriber)
        },
      })

    const deliver = (subscriber: Subscriber, message: BusMessage): void =>
      transfer('in', timeline.nowMs, {
        bytes: message.payload.byteLength,
        arrive: () =>
          machine.run(() => {
            if (!subscriber.isActive) return
            log.note(timeline.nowMs, `${machine.id} ← ${message.subject}`, message.payload)
            subscriber.handler(message)
          }),
      })

    const unregister = (subscriber: Subscriber): void => {
      routing.remove(subscriber)
      deliverTo.delete(subscriber)
    }

    const cut = (): void => {
      connection += 1
      held = held === undefined ? undefined : []
      for (const subscriber of subscribers) unregister(subscriber)
      log.note(timeline.nowMs, `${machine.id} disconnected`)
      machine.run(() => {
        isUp = false
        onLost(() => true)
      })
    }

    const reconnect = (): void => {
      const tryMs = timeline.nowMs + RECONNECT_MS + random() * RECONNECT_JITTER_MS
      timeline.at(tryMs, () => {
        if (machine.state === 'dead') return
        if (!isBrokerUp || held !== undefined || machine.state === 'frozen') return reconnect()
        machine.run(() => {
          log.note(timeline.nowMs, `${machine.id} connected`)
          isUp = true
          for (const subscriber of subscribers) register(subscriber)
        })
      })
    }

    const reset = (): void => {
      cut()
      reconnect()
    }

    const bus: Bus = {
      maxPayloadBytes,
      publish: (subject, payload, reply) => {
        if (!isUp) throw new ClusterError('unavailable', 'NATS: disconnected', { details: { reason: 'DISCONNECTED' } })
        if (!machine.sends()) return true
        if (reply !== undefined) openRequests.add(reply)
        const copy = Uint8Array.from(payload) // the sender may use its buffer again
        const sender = machine
        transfer('out', machine.sendMs, {
          bytes: copy.byteLength,
          arrive: () => route(sender, subject, copy, reply),
        })
        return true
      },
      subscribe: (subject, handler, queue) => {
        const subscriber: Subscriber = { subject, queue, handler, isActive: true }
        subscribers.add(subscriber)
        if (isUp) register(subscriber)
        return {
          unsubscribe: () => {
            if (!subscriber.isActive) return
            subscriber.isActive = false
            subscribers.delete(subscriber)
            transfer('out', machine.sendMs, { bytes: 32, isControl: true, arrive: () => unregister(subscriber) })
          },
        }
      },
      onDisconnect: (listener) => {
        onLost = listener
      },
      onSettled: ({ reply }) => void openRequests.delete(reply),
      advertise: () => Promise.resolve(),
      flush: () => machine.clock.turn(),
      close: () => Promise.resolve(),
    }

    machine.onDeath(() => {
      // The system closes its sockets: what it has sent arrives, then the broker forgets it.
      const forget = (): void => {
        connection += 1
        for (const subscriber of subscribers) unregister(subscriber)
        links.delete(machine)
      }
      timeline.at(Math.max(timeline.nowMs + mine.latencyMs, lastMs.out), forget)
    })

    const link: Link & { cut(): void } = {
      machine,
      bus,
      faults: mine,
      usual: { ...mine },
      get isUp() {
        return isUp
      },
      get numSubscriptions() {
        return subscribers.size
      },
      get numOpenRequests() {
        return openRequests.size
      },
      toBroker: (bytes, arrive) => transfer('out', machine.sendMs, { bytes, arrive }),
      fromBroker: (bytes, arrive) => transfer('in', timeline.nowMs, { bytes, arrive: () => machine.run(arrive) }),
      partition: () => {
        held ??= []
      },
      heal: () => {
        const late = held ?? []
        held = undefined
        for (const packet of late) {
          const sentOver = connection
          timeline.at(timeline.nowMs + mine.latencyMs, () => {
            if (sentOver === connection) packet.arrive()
          })
        }
      },
      reset,
      cut: () => {
        cut()
        reconnect()
      },
    }
    links.set(machine, link)
    return link
  }

  return {
    connect,
    links,
    get isBrokerUp() {
      return isBrokerUp
    },
    restartBroker: (downMs) => {
      log.note(timeline.nowMs, `the broker goes down for ${downMs.toFixed(0)} ms`)
      isBrokerUp = false
      for (const link of [...links.values()]) link.cut()
      timeline.at(timeline.nowMs + downMs, () => {
        isBrokerUp = true
        log.note(timeline.nowMs, 'the broker is back')
      })
    },
  }
}
