// The events of one request, in order, kept while it runs and for a while after: every reader (also a second one with
// the same request id) sees the same events, from the first or from the tokens that it holds already.
//
// Invariants
//   O4  However often a request is begun again, here or on another router, the log takes every token once: what it has
//       is passed over.
//   L1  What is kept is bounded by the request's own token limit; what nobody has read yet by PAUSE_BYTES and a step more:
//       above that the log is paused, and its sequences get no more tokens until half of it is read.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { GenerateEvent, HeldTokens } from './engine.js'

type ChunkEvent = Extract<GenerateEvent, { kind: 'chunk' }>

export const PAUSE_BYTES = 256 * 1024

export interface RequestLog {
  append(event: GenerateEvent): void
  /** Ends the log; without an error it ended well. */
  close(error?: ClusterError): void
  readonly isClosed: boolean
  readonly error: ClusterError | undefined
  readonly events: readonly GenerateEvent[]
  /** Tokens of each choice in the log. */
  readonly held: HeldTokens
  readonly numBytes: number // of all events, about
  readonly numReaders: number
  readonly numRead: number // events that the furthest reader has taken
  /** The furthest reader is too far behind. */
  readonly isPaused: boolean
  /** Called when that changes; the end of the log ends a pause. */
  onPause(listener: (isPaused: boolean) => void): void
  /** Beyond the tokens held; ends with the log, or throws its error, or `cancelled` when the signal aborts. */
  read(signal: AbortSignal, held?: HeldTokens): AsyncGenerator<GenerateEvent>
  /** Somebody who does not `read` has all up to these tokens. */
  noteRead(held: HeldTokens): void
  /** Resolves soon after the next event or the end, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void>
  /** Counts as a reader until released: somebody reads from time to time. */
  hold(): () => void
  /** Called when the last reader leaves before the end. */
  onAbandoned(listener: () => void): void
}

/** `onChunk` sees every chunk that is news. */
export function createRequestLog(
  clock: Pick<Clock, 'turn'>,
  onChunk: (chunk: ChunkEvent) => void = () => undefined,
): RequestLog {
  let events: GenerateEvent[] = []
  const wakers = new Set<() => void>()
  let isClosed = false
  let failure: ClusterError | undefined
  let numReaders = 0
  const held: number[] = []
  let abandoned = (): void => undefined
  let paused = (_: boolean): void => undefined
  let isPaused = false
  let numRead = 0
  let unreadBytes = 0
  let numBytes = 0
  let isWaking = false

  /** In the loop's next turn: a step's tokens are written to clients while the next step is computed, not before it is sent. */
  const wake = (): void => {
    if (isWaking || wakers.size === 0) return
    isWaking = true
    void clock.turn().then(() => {
      isWaking = false
      for (const waker of wakers) waker()
    })
  }

  const setPaused = (value: boolean): void => {
    if (value === isPaused) return
    isPaused = value
    paused(value)
  }

  /** A reader has taken the first `count` events. */
  const taken = (count: number): void => {
    while (numRead < count) unreadBytes -= bytesOf(events[numRead++])
    if (unreadBytes <= PAUSE_BYTES / 2) setPaused(false)
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

  const hold = (): (() => void) => {
    let isHeld = true
    numReaders += 1
    return () => {
      if (!isHeld) return
      isHeld = false
      numReaders -= 1
      if (numReaders === 0 && isClosed) events = compact(events)
      else if (numReaders === 0) abandoned()
    }
  }

  async function* read(signal: AbortSignal, held: HeldTokens = []): AsyncGenerator<GenerateEvent> {
    const release = hold()
    let wakeUp = (): void => undefined
    const abort = (): void => wakeUp()
    signal.addEventListener('abort', abort, { once: true })
    try {
      for (let i = 0; ;) {
        if (signal.aborted)
          throw new ClusterError('cancelled', 'the client cancelled the request', { cause: signal.reason })
        const event = events[i]
        if (event !== undefined) {
          i += 1
          taken(i)
          const rest = beyond(event, held)
          if (rest !== undefined) yield rest
        } else if (isClosed) {
          if (failure !== undefined) throw failure
          return
        } else {
          await new Promise<void>((resolve) => {
            wakeUp = resolve
            wakers.add(wakeUp)
          })
          wakers.delete(wakeUp)
        }
      }
    } finally {
      signal.removeEventListener('abort', abort)
      release()
    }
  }

  const isNew = (event: Exclude<GenerateEvent, ChunkEvent>): boolean =>
    !events.some(
      (other) =>
        other.kind === event.kind &&
        (other.kind !== 'finished' || event.kind !== 'finished' || other.choice === event.choice),
    )

  return {
    append: (event) => {
      if (isClosed) return
      const news = event.kind === 'chunk' ? beyond(event, held) : isNew(event) ? event : undefined
      if (news === undefined) return
      if (news.kind === 'chunk') {
        held[news.choice] = news.offset + news.tokenIds.length
        onChunk(news)
      }
      events.push(news)
      const size = bytesOf(news)
      unreadBytes += size
      numBytes += size
      if (unreadBytes > PAUSE_BYTES) setPaused(true)
      wake()
    },
    close: (error) => {
      if (isClosed) return
      isClosed = true
      failure = error
      setPaused(false)
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
    get held() {
      return held
    },
    get numBytes() {
      return numBytes
    },
    get numReaders() {
      return numReaders
    },
    get numRead() {
      return numRead
    },
    get isPaused() {
      return isPaused
    },
    onPause: (listener) => {
      paused = listener
    },
    read,
    noteRead: (tokens) => {
      let count = numRead
      for (let event = events[count]; event !== undefined; event = events[++count]) {
        if (event.kind === 'chunk' && beyond(event, tokens) !== undefined) break
      }
      taken(count)
    },
    changed: nextChange,
    hold,
    onAbandoned: (listener) => {
      abandoned = listener
    },
  }
}

/** What an event says beyond the tokens held; a chunk of which a part is held is cut, and shows no tree. */
export function beyond(event: GenerateEvent, held: HeldTokens): GenerateEvent | undefined {
  if (event.kind !== 'chunk') return event
  const numHeld = Math.max(0, (held[event.choice] ?? 0) - event.offset)
  if (numHeld === 0) return event
  if (numHeld >= event.tokenIds.length) return undefined
  const textStart = event.textEnds[numHeld - 1] ?? 0
  return {
    kind: 'chunk',
    choice: event.choice,
    offset: event.offset + numHeld,
    tokenIds: event.tokenIds.slice(numHeld),
    text: event.text.slice(textStart),
    textEnds: event.textEnds.slice(numHeld).map((end) => end - textStart),
    logprobs: event.logprobs.slice(numHeld),
  }
}

/** About what an event takes in memory. */
function bytesOf(event: GenerateEvent | undefined): number {
  if (event?.kind !== 'chunk') return EVENT_BYTES
  const { tokenIds, text, logprobs, tree } = event
  const numLogprobs = logprobs.reduce((sum, { top }) => sum + 1 + top.length, 0)
  const numParts = numLogprobs + (tree?.nodes.length ?? 0)
  return EVENT_BYTES + 8 * tokenIds.length + 2 * text.length + PART_BYTES * numParts
}

const EVENT_BYTES = 200
const PART_BYTES = 150 // a log-probability, or a node of a tree

/**
 * A finished log keeps one chunk per choice: a later reader gets the same tokens and text in fewer pieces, and no token
 * trees, which take far more room than what they led to.
 */
function compact(events: readonly GenerateEvent[]): GenerateEvent[] {
  const chunks = events.filter((event) => event.kind === 'chunk')
  const whole = [...new Set(chunks.map(({ choice }) => choice))].map((choice) =>
    join(chunks.filter((chunk) => chunk.choice === choice)),
  )
  const accepted = events.filter((event) => event.kind === 'accepted')
  return [...accepted, ...whole, ...events.filter((event) => event.kind === 'finished')]
}

/** Waits until something is known of a request that was just found elsewhere, at most so long. */
export async function firstNews(log: RequestLog, clock: Clock, timeoutMs: number): Promise<void> {
  if (log.events.length > 0 || log.isClosed) return
  const patience = new AbortController()
  const stopWaiting = clock.after(timeoutMs, () => patience.abort())
  await log.changed(patience.signal)
  stopWaiting()
}

/** Chunks of one choice, in order, as one. */
function join(chunks: readonly ChunkEvent[]): ChunkEvent {
  let length = 0
  const textEnds = chunks.flatMap((chunk) => {
    const start = length
    length += chunk.text.length
    return chunk.textEnds.map((end) => start + end)
  })
  return {
    kind: 'chunk',
    choice: chunks[0]?.choice ?? 0,
    offset: 0,
    tokenIds: chunks.flatMap(({ tokenIds }) => tokenIds),
    text: chunks.map(({ text }) => text).join(''),
    textEnds,
    logprobs: chunks.flatMap(({ logprobs }) => logprobs),
  }
}
