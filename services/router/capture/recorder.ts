// Records every request that ended here: one line in a file of the trace folder, one record to whoever listens.
//
// Invariants
//   C1  Exactly one record per end of a run: by the router that owned it, whoever read its events. A client that left may
//       come back to the same request: it is given LEFT_MS before its leaving is an end.
//   C2  What `content` does not allow leaves this process in no form but hashes.
//   C3  A disk or a listener that is slow, full or gone costs records, counted, and never a token.

import type { Clock } from '../../../lib/actor/actor.js'
import type { LineFile } from '../../../lib/tracing/line-file.js'
import {
  lesserContent,
  limitContent,
  type RecordContent,
  type RequestRecord as TrafficRecord,
} from '../../../lib/traffic/request-record.js'
import { requestKey } from '../journal.js'
import { isLeft, type RequestRecord } from '../requests.js'
import { describeRequest, type Served } from './describe-request.js'
import { createRecordFeed, type FeedOptions } from './record-feed.js'

const LEFT_MS = 2_000
const CLOSE_MS = 2_000

export interface RecorderOptions extends Served {
  readonly clock: Clock
  readonly file: LineFile | undefined
  readonly content: RecordContent | undefined // as it was asked for; undefined: ids in the file, hashes on the feed
}

export interface Recorder {
  /** A request of this name is here again: if it was only left, it has not ended. */
  began(record: Pick<RequestRecord, 'tenant' | 'id'>): void
  /** It ended here, if it ran here. */
  ended(record: RequestRecord): void
  /** The records from now on, with no more in them than was allowed at the start. */
  listen(options: FeedOptions): AsyncGenerator<TrafficRecord>
  /** Ends the feed and writes what waits, within a bound. */
  close(): Promise<void>
}

interface Pending {
  readonly cancel: () => void
  readonly tenant: string
  readonly record: TrafficRecord
}

export function createRecorder({ clock, file, content, ...served }: RecorderOptions): Recorder {
  const feed = createRecordFeed()
  const left = new Map<string, Pending>() // by key

  const write = (tenant: string, record: TrafficRecord): void => {
    file?.add(JSON.stringify(limitContent(record, content ?? 'ids')))
    feed.publish(tenant, record)
  }

  const writeLeft = (key: string, { cancel, tenant, record }: Pending): void => {
    cancel()
    left.delete(key)
    write(tenant, record)
  }

  const close = async (): Promise<void> => {
    for (const [key, pending] of [...left]) writeLeft(key, pending)
    feed.close()
    if (file === undefined) return
    await new Promise<void>((resolve) => {
      const cancel = clock.after(CLOSE_MS, resolve)
      void file.close().finally(() => {
        cancel()
        resolve()
      })
    })
  }
  let closing: Promise<void> | undefined

  return {
    began: ({ tenant, id }) => {
      const key = requestKey(tenant, id)
      left.get(key)?.cancel()
      left.delete(key)
    },
    ended: (record) => {
      const { accepted, tenant, id } = record
      if (accepted === undefined || (file === undefined && feed.numListeners === 0)) return
      const described = describeRequest(record, accepted, served)
      if (!isLeft(record)) return write(tenant, described)
      const key = requestKey(tenant, id)
      const cancel = clock.after(LEFT_MS, () => writeLeft(key, pending))
      const pending: Pending = { cancel, tenant, record: described }
      left.set(key, pending)
    },
    listen: (options) => feed.listen({ ...options, content: lesserContent(options.content, content ?? 'hash') }),
    close: () => (closing ??= close()),
  }
}
