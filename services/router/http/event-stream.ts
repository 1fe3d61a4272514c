// Server-sent events at the client's pace. Several choices may write at once: they share one wait for room.

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { ClusterError } from '../../../lib/errors.js'

export interface EventStream {
  /** Resolves when there is room for more. Throws `cancelled` once the signal is aborted. */
  send(data: string): Promise<void>
  end(): Promise<void>
}

/** Sends the headers, so that the client knows at once that its request was accepted. */
export function openEventStream(response: ServerResponse, signal: AbortSignal): EventStream {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  })
  response.flushHeaders()
  let room: Promise<unknown> | undefined

  const left = (cause: unknown): ClusterError => new ClusterError('cancelled', 'the client left', { cause })
  const send = async (data: string): Promise<void> => {
    if (signal.aborted) throw left(signal.reason)
    if (!response.write(`data: ${data}\n\n`)) {
      room ??= once(response, 'drain', { signal }).finally(() => {
        room = undefined
      })
    }
    await room?.catch((error: unknown) => {
      throw left(error)
    })
  }
  return {
    send,
    end: async () => {
      await send('[DONE]')
      response.end()
    },
  }
}
