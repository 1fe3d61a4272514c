// Records every request that ended here: one line in a file of the trace folder, one record to whoever listens.
//
// Invariants
//   C1  Exactly one record per end of a run: by the router that owned it, whoever read its events. A client that left may
//       come back to the same request: if that runs again within LEFT_MS, its leaving was no end.
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
import type { SequenceMaker } from '../create-sequences.js'
import { describeRequest, type Served } from './describe-request.js'
import type { ExpertFile, ExpertFiles } from './expert-files.js'
import { createRecordFeed, type FeedOptions } from './record-feed.js'

const LEFT_MS = 2_000
const CLOSE_MS = 2_000

export interface RecorderOptions extends Served {
  readonly clock: Clock
  readonly file: LineFile | undefined
  readonly experts?: ExpertFiles | undefined // of what the records' tokens went to
  readonly content: RecordContent | undefined // as it was asked for; undefined: ids in the file, hashes on the feed
}

export interface Recorder {
  /** Where a sequence's experts are kept until its request ends. */
  readonly keepRoutes: SequenceMaker['keepRoutes']
  /** A request of this name runs again: if it was only left, it has not ended. */
  began(record: Pick<RequestRecord, 'tenant' | 'id' | 'timeline'>): void
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
  readonly files: readonly ExpertFile[]
}

export function createRecorder({ clock, file, experts, content, ...served }: RecorderOptions): Recorder {
  const feed = createRecordFeed()
  const left = new Map<string, Pending>() // by key

  const write = ({ tenant, record, files }: Omit<Pending, 'cancel'>): void => {
    file?.add(JSON.stringify(limitContent(record, content ?? 'ids')))
    feed.publish(tenant, record)
    for (const one of files) experts?.add(one)
  }

  const writeLeft = (key: string, pending: Pending): void => {
    pending.cancel()
    left.delete(key)
    write(pending)
  }

  const flush = async (): Promise<void> => void (await Promise.all([file?.close(), experts?.flush()]))

  const close = async (): Promise<void> => {
    for (const [key, pending] of [...left]) writeLeft(key, pending)
    feed.close()
    if (file === undefined) return
    await new Promise<void>((resolve) => {
      const cancel = clock.after(CLOSE_MS, resolve)
      void flush().finally(() => {
        cancel()
        resolve()
      })
    })
  }
  let closing: Promise<void> | undefined

  return {
    keepRoutes: experts?.open,
    began: ({ tenant, id, timeline }) => {
      const key = requestKey(tenant, id)
      const pending = left.get(key)
      if (pending === undefined) return
      pending.cancel()
      left.delete(key)
      for (const { routes } of pending.files) routes.drop()
      const { arrivalUnixMs, choices } = pending.record
      timeline.goesOn({ arrivalUnixMs, chunks: choices.map(({ chunks }) => chunks) })
    },
    ended: (record) => {
      const { accepted, tenant, id } = record
      const wanted = [file && (content ?? 'ids'), feed.contentFor(tenant)]
      const key = requestKey(tenant, id)
      const isLeftAgain = isLeft(record) && left.has(key) // before it ran again
      if (accepted === undefined || isLeftAgain || wanted.every((one) => one === undefined)) return forget(record)
      const described = describeRequest(record, accepted, { ...served, withText: wanted.includes('text') })
      const ended = { tenant, record: described, files: filesOf(record, described) }
      if (!isLeft(record)) return write(ended)
      const cancel = clock.after(LEFT_MS, () => writeLeft(key, pending))
      const pending: Pending = { ...ended, cancel }
      left.set(key, pending)
    },
    listen: (options) => feed.listen({ ...options, content: lesserContent(options.content, content ?? 'hash') }),
    close: () => (closing ??= close()),
  }
}

/** The files that a record names; what else its sequences keep is dropped. */
function filesOf({ sequences }: RequestRecord, { prompt, choices }: TrafficRecord): ExpertFile[] {
  return sequences.flatMap(({ routes, choice }) => {
    const { routedExperts: name, numTokens = 0 } = choices[choice] ?? {}
    if (routes === undefined) return []
    if (name !== undefined) return [{ name, routes, numTokens: prompt.numTokens + numTokens - 1 }] // the last never ran
    routes.drop()
    return []
  })
}

function forget({ sequences }: RequestRecord): void {
  for (const { routes } of sequences) routes?.drop()
}
