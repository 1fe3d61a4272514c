// What our own files hold beside requests to replay: spans and whole records. A path is a file or a folder of them.

import { parseRecord } from '../formats/banyan.js'
import { isRow, parseJson } from '../formats/fields.js'
import { BadItem, type Item } from '../formats/format.js'
import { readItems } from '../formats/items.js'
import { findFiles } from '../files.js'
import { TraceError } from '../trace-error.js'
import { RECORD_SCHEMA, type RequestRecord } from '../../../lib/traffic/request-record.js'
import { isSpans, spansOf, type Span } from './span.js'

export interface Scanned {
  readonly file: string
  readonly spans: readonly Span[]
  readonly records: readonly RequestRecord[]
}

/** Spans and records in batches, file by file; files of other formats give nothing. */
export async function* scanFiles(path: string): AsyncGenerator<Scanned> {
  for (const file of (await findFiles(path)).files) {
    let isOurs = false
    for await (const items of readItems(file)) {
      const batch = { file, spans: [] as Span[], records: [] as RequestRecord[] }
      for (const item of items) {
        const found = readItem(item, isOurs, file)
        isOurs ||= found !== undefined
        if (found === undefined) break
        for (const span of found.spans) batch.spans.push(span)
        for (const record of found.records) batch.records.push(record)
      }
      if (isOurs) yield batch
      else if (items.length > 0) break // of none is a batch within a long item
    }
  }
}

const NOTHING = { spans: [], records: [] }

/** Undefined: the file's first item is neither. What a killed writer left at a file's end is nothing. */
function readItem(item: Item, isOurs: boolean, file: string): Omit<Scanned, 'file'> | undefined {
  try {
    const value = parseJson(item.text)
    if (isSpans(value)) return { spans: spansOf(value), records: [] }
    if (isRow(value) && value.schema === RECORD_SCHEMA) return { spans: [], records: [parseRecord(value)] }
    if (!isOurs) return undefined
    throw new BadItem('want spans or a record of a request, found other JSON')
  } catch (error) {
    if (!(error instanceof BadItem)) throw error
    if (!isOurs) return undefined
    if (item.isTorn) return NOTHING
    throw new TraceError('invalid_argument', `${file}:${item.line}: ${error.message}`, { cause: error })
  }
}
