// What a format of trace files is: it says whether a file is its own from what the file says, never from its name, and
// makes requests of the file's items.
//
// Invariants
//   F1  An item is one line, or one value of a JSON file; an item that is wrong throws `BadItem` and leaves the reader
//       as it was before.
//   F2  A reader belongs to one trace: the files of a folder go through the same one.

import type { TraceRequest } from '../trace.js'

/** One line, or one element of a JSON array, or a whole JSON document. */
export interface Item {
  readonly line: number // where it begins, from 1
  readonly text: string
  readonly isTorn: boolean // the last line of a file that does not end with a line break
}

/** A file's first items, and what they are as JSON: undefined where they are none. */
export interface Sample {
  readonly items: readonly Item[]
  readonly values: readonly unknown[]
}

/** A request before the trace has an order and a beginning. */
export interface RawRequest extends Omit<TraceRequest, 'id' | 'arrivalMs'> {
  readonly id?: string | undefined
  /** Since any fixed moment; undefined: the file does not say. */
  readonly timeMs: number | undefined
}

export interface Reader {
  /** The requests that an item tells of: none for headers and other lines that are no requests. */
  read(item: Item): readonly RawRequest[]
  /** After the last item: what only the whole trace tells, and words for people. */
  finish?(): { readonly requests?: readonly RawRequest[]; readonly notices?: readonly string[] }
  /** What to say of a torn last line instead of failing; undefined: it is broken like any other. */
  readonly tornNotice?: string
}

export interface ReaderOptions {
  readonly blockTokens?: number | undefined // per hash, where the format leaves it open
  readonly keepsRecords?: boolean
}

export interface TraceFormat {
  readonly name: string
  /** Times since 1970, not since some beginning. */
  readonly isDated: boolean
  /** Items come in the order of arrival; else in that of the requests' ends, and sorting them is no news. */
  readonly isOrdered: boolean
  /** Why the sample is not of this format, or undefined. */
  recognise(sample: Sample): string | undefined
  createReader(options: ReaderOptions): Reader
}

/** An item that is not what the format promises: what was wanted, what was found. */
export class BadItem extends Error {
  override readonly name = 'BadItem'
}
