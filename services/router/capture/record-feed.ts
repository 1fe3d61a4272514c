// The records of requests as they end, for who listens: so many at most, each with a bounded buffer of its own, and told
// when it fell behind.

import { ClusterError } from '../../../lib/errors.js'
import {
  greaterContent,
  limitContent,
  type RecordContent,
  type RequestRecord,
} from '../../../lib/traffic/request-record.js'

const MAX_LISTENERS = 64
const MAX_BUFFERED = 1024 // records a listener
const MAX_BUFFERED_BYTES = 16 * 2 ** 20 // of them, about

export interface FeedOptions {
  readonly tenant: string // whose requests; '': no keys are configured, and all may be seen
  readonly content: RecordContent
  readonly signal: AbortSignal
  /** It fell behind: at once, where reading on may take for ever. */
  readonly onLost?: ((error: ClusterError) => void) | undefined
}

export interface RecordFeed {
  /** The most that listeners to a tenant's records want; undefined: nobody listens. */
  contentFor(tenant: string): RecordContent | undefined
  publish(tenant: string, record: RequestRecord): void
  /**
   * Ends when the feed closes or the signal aborts. Throws `resource_exhausted` where there are too many already, and
   * while it is read where the listener fell behind.
   */
  listen(options: FeedOptions): AsyncGenerator<RequestRecord>
  close(): void
}

interface Listener {
  readonly options: FeedOptions
  buffer: { readonly record: RequestRecord; readonly bytes: number }[]
  numBytes: number
  hasLost: boolean
  wake: () => void
}

export function createRecordFeed(): RecordFeed {
  const listeners = new Set<Listener>()
  let isClosed = false

  const changed = (listener: Listener): Promise<void> =>
    new Promise((resolve) => {
      listener.wake = resolve
    })

  async function* read(options: FeedOptions): AsyncGenerator<RequestRecord> {
    const listener: Listener = { options, buffer: [], numBytes: 0, hasLost: false, wake: () => undefined }
    const wake = (): void => listener.wake()
    listeners.add(listener)
    options.signal.addEventListener('abort', wake, { once: true })
    try {
      while (!options.signal.aborted) {
        const next = listener.buffer.shift()
        if (next !== undefined) {
          listener.numBytes -= next.bytes
          yield next.record
        } else if (listener.hasLost) throw fellBehind()
        else if (isClosed) return
        else await changed(listener)
      }
    } finally {
      options.signal.removeEventListener('abort', wake)
      listeners.delete(listener)
    }
  }

  const offer = (listener: Listener, record: RequestRecord): void => {
    if (listener.hasLost) return
    const limited = limitContent(record, listener.options.content)
    const bytes = bytesOf(limited)
    if (listener.buffer.length < MAX_BUFFERED && listener.numBytes + bytes <= MAX_BUFFERED_BYTES) {
      listener.buffer.push({ record: limited, bytes })
      listener.numBytes += bytes
    } else {
      listener.hasLost = true
      listener.buffer = []
      listener.options.onLost?.(fellBehind())
    }
    listener.wake()
  }

  return {
    contentFor: (tenant) => {
      const wanted = [...listeners].flatMap(({ options }) => (options.tenant === tenant ? [options.content] : []))
      return wanted.length === 0 ? undefined : wanted.reduce(greaterContent)
    },
    publish: (tenant, record) => {
      for (const listener of listeners) if (listener.options.tenant === tenant) offer(listener, record)
    },
    listen: (options) => {
      if (listeners.size >= MAX_LISTENERS) throw tooMany()
      return read(options)
    },
    close: () => {
      isClosed = true
      for (const listener of listeners) listener.wake()
    },
  }
}

/** About what a record takes in memory. */
function bytesOf({ prompt, choices }: RequestRecord): number {
  const ofChoices = choices.reduce(
    (sum, { ids = [], text = '', chunks }) => sum + 8 * ids.length + 2 * text.length + 32 * chunks.length,
    0,
  )
  return (
    1024 + 8 * (prompt.ids?.length ?? 0) + 2 * (prompt.text?.length ?? 0) + 32 * prompt.blockHashes.length + ofChoices
  )
}

const fellBehind = (): ClusterError =>
  new ClusterError(
    'resource_exhausted',
    `records: want a reader at most ${MAX_BUFFERED} records and ${MAX_BUFFERED_BYTES} bytes behind; what waited was lost`,
    { details: { reason: 'SLOW_READER' } },
  )

const tooMany = (): ClusterError =>
  new ClusterError('resource_exhausted', `records: ${MAX_LISTENERS} listen already`, {
    details: { reason: 'TOO_MANY_LISTENERS' },
  })
