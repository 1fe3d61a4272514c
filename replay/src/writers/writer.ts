// What writes a trace in some format: its lines, and what the format cannot hold.
//
// Invariants
//   W1  Arrivals, lengths, block names and sessions are kept wherever the format has a place for them.
//   W2  What is lost is named.

import { hashBlocks } from '../../../lib/traffic/request-record.js'
import { reblock } from '../formats/block-names.js'
import type { Trace, TracePrompt, TraceRequest } from '../trace.js'

export interface Written {
  readonly lines: Iterable<string>
  readonly losses: readonly string[] // e.g. 'seeds'
}

export type Writer = (trace: Trace) => Written

/** What a request may have that a format may lack, by name. */
const PARTS: Readonly<Record<string, (request: TraceRequest) => boolean>> = {
  ids: ({ id }) => !/^request-\d+$/.test(id),
  'ids of prompt tokens': ({ prompt }) => prompt.kind === 'tokens',
  'texts of prompts': ({ prompt }) => prompt.kind === 'text',
  'chat messages': ({ prompt }) => prompt.kind === 'chat',
  'texts of answers whose length is unknown': ({ outputText }) => outputText !== undefined,
  seeds: ({ sampling }) => sampling.seed !== undefined,
  'sampling parameters': ({ sampling: { seed: _, ...rest } }) => Object.keys(rest).length > 0,
  sessions: ({ session }) => session !== undefined,
  'delays between turns': ({ delayMs }) => delayMs !== undefined,
  models: ({ model }) => model !== undefined,
  durations: ({ durationMs }) => durationMs !== undefined,
  'recorded answers': ({ recorded }) => recorded !== undefined,
  'fractions of a millisecond': ({ arrivalMs }) => !Number.isInteger(arrivalMs),
}

export type Part = keyof typeof PARTS

/** Those of the parts that some request has. */
export const lost = ({ requests }: Trace, parts: readonly Part[]): string[] =>
  parts.filter((part) => requests.some((request) => PARTS[part]?.(request)))

export interface Blocks {
  readonly numTokens: number
  readonly names: readonly string[]
}

/** A prompt's length and block names at a block size; names that do not fit it are left out. Undefined for texts. */
export function blocksAt(prompt: TracePrompt, blockTokens: number): Blocks | undefined {
  if (prompt.kind === 'tokens')
    return { numTokens: prompt.tokens.length, names: hashBlocks(prompt.tokens, blockTokens) }
  if (prompt.kind !== 'blocks') return undefined
  const { numTokens, blockTokens: from, blocks } = prompt
  return { numTokens, names: reblock(blocks, { from, to: blockTokens, numTokens }) ?? [] }
}

/** A row with a list of uint64 under a name, which `JSON.stringify` cannot write. */
export const withIntegers = (row: object, name: string, integers: readonly bigint[]): string =>
  JSON.stringify({ ...row, [name]: '\u0000' }).replace('"\\u0000"', `[${integers.join(',')}]`)
