import type { Transport } from '../../lib/transport/transport.js'
import { decodeFrame, encodeFrame } from '../../lib/wire/frame.js'

/** A service's connection that has its heartbeats name another device class than it found. */
export function ofClass(inner: Transport, deviceClass: string): Transport {
  return {
    ...inner,
    get dropped() {
      return inner.dropped
    },
    publish: (subject, payload) => {
      if (!subject.endsWith('health')) return inner.publish(subject, payload)
      const frame = decodeFrame(payload)
      const { message } = frame
      if (message.kind !== 'worker.heartbeat') return inner.publish(subject, payload)
      inner.publish(subject, encodeFrame({ ...frame, message: { ...message, deviceClass } }))
    },
  }
}
