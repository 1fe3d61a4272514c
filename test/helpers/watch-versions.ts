// Which versions of the frame go through a transport.

import type { Transport } from '../../lib/transport/transport.js'
import { headerOf } from '../../lib/wire/frame.js'

export interface SeenVersions {
  readonly sent: (version: number) => void // questions, and what is told or published
  readonly answered?: (version: number) => void
  readonly received?: (version: number) => void // all but answers
}

const versionOf = (payload: Uint8Array): number => headerOf(payload)?.version ?? NaN

export const watchVersions = (transport: Transport, { sent, answered, received }: SeenVersions): Transport => ({
  ...transport,
  publish: (subject, payload) => {
    sent(versionOf(payload))
    transport.publish(subject, payload)
  },
  request: (subject, payload, options) => {
    sent(versionOf(payload))
    return transport.request(subject, payload, options)
  },
  subscribe: (subject, handler, options) =>
    transport.subscribe(
      subject,
      ({ reply, ...delivery }) => {
        received?.(versionOf(delivery.payload))
        const answer = (payload: Uint8Array): boolean => {
          answered?.(versionOf(payload))
          return reply?.(payload) ?? false
        }
        handler({ ...delivery, ...(reply && { reply: answer }) })
      },
      options,
    ),
})
