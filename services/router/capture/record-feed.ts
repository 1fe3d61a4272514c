// The records of requests as they end, for who listens: each has a bounded buffer of its own, and is told when it fell
// behind.

import { ClusterError } from '../../../lib/errors.js'
import { limitContent, type RecordContent, type RequestRecord } from '../../../lib/traffic/request-record.js'

const MAX_BUFFERED = 1024 // records a listener

export interface FeedOptions {
  readonly tenant: string // whose requests; '': no keys are configured, and all may be seen
  readonly content: RecordContent
  readonly signal: AbortSignal
}

export interface RecordFeed {
  readonly numListeners: number
  publish(tenant: string, record: RequestRecord): void
  /** Ends when the feed closes or the signal aborts. Throws `resource_exhausted` where the listener fell behind. */
  listen(options: FeedOptions): AsyncGenerator<RequestRecord>
  close(): void
}

interface Listener {
  readonly options: FeedOptions
  readonly buffer: RequestRecord[]
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

  async function* listen(options: FeedOptions): AsyncGenerator<RequestRecord> {
    const listener: Listener = { options, buffer: [], hasLost: false, wake: () => undefined }
    const wake = (): void => listener.wake()
    listeners.add(listener)
    options.signal.addEventListener('abort', wake, { once: true })
    try {
      while (!options.signal.aborted) {
        const next = listener.buffer.shift()
        if (next !== undefined) yield next
        else if (listener.hasLost) throw fellBehind()
        else if (isClosed) return
        else await changed(listener)
      }
    } finally {
      options.signal.removeEventListener('abort', wake)
      listeners.delete(listener)
    }
  }

  const offer = (listener: Listener, record: RequestRecord): void => {
    if (listener.buffer.length >= MAX_BUFFERED) listener.hasLost = true
    if (!listener.hasLost) listener.buffer.push(limitContent(record, listener.options.content))
    listener.wake()
  }

  return {
    get numListeners() {
      return listeners.size
    },
    publish: (tenant, record) => {
      for (const listener of listeners) if (listener.options.tenant === tenant) offer(listener, record)
    },
    listen,
    close: () => {
      isClosed = true
      for (const listener of listeners) listener.wake()
    },
  }
}

const fellBehind = (): ClusterError =>
  new ClusterError('resource_exhausted', `records: ${MAX_BUFFERED} were waiting to be read; further ones were lost`, {
    details: { reason: 'SLOW_READER' },
  })
