// A transport that can stand still, as that of a stopped process does: what would come in or go out waits, in order.

import type { Transport } from '../../lib/transport/transport.js'

export interface Freezable {
  readonly transport: Transport
  freeze(): void
  /** Lets everything through that waited. */
  thaw(): void
}

export function createFreezable(inner: Transport): Freezable {
  let waiting: (() => void)[] | undefined // while frozen
  const pass = (run: () => void): void => {
    if (waiting === undefined) run()
    else waiting.push(run)
  }
  return {
    transport: {
      ...inner,
      get dropped() {
        return inner.dropped
      },
      publish: (subject, payload) => {
        const bytes = Uint8Array.from(payload)
        pass(() => inner.publish(subject, bytes))
      },
      request: async (subject, payload, options) => {
        const bytes = Uint8Array.from(payload)
        if (waiting !== undefined) await new Promise<void>((resolve) => pass(resolve))
        return inner.request(subject, bytes, options)
      },
      subscribe: (subject, handler, options) =>
        inner.subscribe(
          subject,
          ({ reply, ...delivery }) => {
            const answer =
              reply &&
              ((payload: Uint8Array): boolean => {
                pass(() => reply(payload))
                return false
              })
            pass(() => handler({ ...delivery, ...(answer && { reply: answer }) }))
          },
          options,
        ),
    },
    freeze: () => {
      waiting ??= []
    },
    thaw: () => {
      const held = waiting ?? []
      waiting = undefined
      for (const run of held) run()
    },
  }
}
