// The events of one request, in order, kept while it runs and for a while after: every reader (also a second one with
// the same request id) sees the same events from the first. Bounded by the request's own token limit.

import { ClusterError } from '../../lib/errors.js'
import type { GenerateEvent } from './engine.js'

export interface RequestLog {
  append(event: GenerateEvent): void
  /** Ends the log; without an error it ended well. */
  close(error?: ClusterError): void
  readonly isClosed: boolean
  readonly error: ClusterError | undefined
  readonly events: readonly GenerateEvent[]
  readonly numReaders: number
  /** From the first event; ends with the log, or throws its error, or `cancelled` when the signal aborts. */
  read(signal: AbortSignal): AsyncGenerator<GenerateEvent>
  /** Called when the last reader leaves before the end. */
  onAbandoned(listener: () => void): void
}

export function createRequestLog(): RequestLog {
  let events: GenerateEvent[] = []
  const wakers = new Set<() => void>()
  let isClosed = false
  let failure: ClusterError | undefined
  let numReaders = 0
  let abandoned = (): void => undefined

  const wake = (): void => {
    for (const waker of [...wakers]) waker()
  }

  const nextChange = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        wakers.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      wakers.add(done)
      signal.addEventListener('abort', done, { once: true })
    })

  async function* read(signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    numReaders += 1
    try {
      for (let i = 0; ;) {
        if (signal.aborted)
          throw new ClusterError('cancelled', 'the client cancelled the request', { cause: signal.reason })
        const event = events[i]
        if (event !== undefined) {
          i += 1
          yield event
        } else if (isClosed) {
          if (failure !== undefined) throw failure
          return
        } else await nextChange(signal)
      }
    } finally {
      numReaders -= 1
      if (numReaders === 0 && isClosed) events = compact(events)
      else if (numReaders === 0) abandoned()
    }
  }

  return {
    append: (event) => {
      if (isClosed) return
      events.push(event)
      wake()
    },
    close: (error) => {
      if (isClosed) return
      isClosed = true
      failure = error
      if (numReaders === 0) events = compact(events)
      wake()
    },
    get isClosed() {
      return isClosed
    },
    get error() {
      return failure
    },
    get events() {
      return events
    },
    get numReaders() {
      return numReaders
    },
    read,
    onAbandoned: (listener) => {
      abandoned = listener
    },
  }
}

/**
 * A finished log keeps one chunk per choice: a later reader gets the same tokens and text in fewer pieces, and no token
 * trees, which take far more room than what they led to.
 */
function compact(events: readonly GenerateEvent[]): GenerateEvent[] {
  const chunks = events.filter((event) => event.kind === 'chunk')
  const whole = [...new Set(chunks.map(({ choice }) => choice))].map((choice) => {
    const mine = chunks.filter((chunk) => chunk.choice === choice)
    return {
      kind: 'chunk' as const,
      choice,
      offset: 0,
      tokenIds: mine.flatMap(({ tokenIds }) => tokenIds),
      text: mine.map(({ text }) => text).join(''),
      logprobs: mine.flatMap(({ logprobs }) => logprobs),
    }
  })
  const accepted = events.filter((event) => event.kind === 'accepted')
  return [...accepted, ...whole, ...events.filter((event) => event.kind === 'finished')]
}
