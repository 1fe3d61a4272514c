// A service's connection to the hub of its process: the real hub, whose deliveries are events of the machine.

import type { Bus } from '../../lib/transport/bus-transport.js'
import type { EventLog } from './event-log.js'
import type { Machine } from './machine.js'
import type { Connection } from './network.js'
import type { Timeline } from './timeline.js'

export interface LocalConnectionOptions {
  readonly machine: Machine
  readonly bus: Bus // of the hub
  readonly timeline: Timeline
  readonly log: EventLog
}

export function connectLocally({ machine, bus, timeline, log }: LocalConnectionOptions): Connection {
  const openRequests = new Set<string>()
  let numSubscriptions = 0

  const publish: Bus['publish'] = (subject, payload, reply) => {
    if (!machine.sends()) return true
    if (reply !== undefined) openRequests.add(reply)
    return bus.publish(subject, payload, reply)
  }

  const subscribe: Bus['subscribe'] = (subject, handler, queue) => {
    let isActive = true
    numSubscriptions += 1
    const inner = bus.subscribe(
      subject,
      (message) => {
        if (machine.state === 'dead') return // it died earlier in this turn's worth of deliveries
        log.note(timeline.nowMs, `${machine.id} ← ${message.subject}`, message.payload)
        handler(message)
      },
      queue,
    )
    return {
      unsubscribe: () => {
        if (isActive) numSubscriptions -= 1
        isActive = false
        inner.unsubscribe()
      },
    }
  }

  return {
    bus: { ...bus, publish, subscribe, onSettled: ({ reply }) => void openRequests.delete(reply) },
    get numSubscriptions() {
      return numSubscriptions
    },
    get numOpenRequests() {
      return openRequests.size
    },
  }
}
