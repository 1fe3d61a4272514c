// Names of prompt blocks. Whatever a trace calls its blocks, here a name is 16 hex digits; a number keeps its value, so
// ids go through other formats and come back as they were.

import { createHash } from 'node:crypto'
import type { TracePrompt } from '../trace.js'
import { BadItem } from './format.js'
import { INTEGER_MARK, shown } from './fields.js'

const DIGITS = 16
const MAX_ID = 2n ** 64n

const hashName = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, DIGITS)

/** A prompt of so many tokens, its blocks named by the hash ids of a trace's field; ids beyond its length are left out. */
export function blocksPrompt(
  field: string,
  ids: readonly unknown[],
  { numTokens, blockTokens }: { readonly numTokens: number; readonly blockTokens: number },
): Extract<TracePrompt, { kind: 'blocks' }> {
  const blocks = blockNames(field, ids).slice(0, Math.ceil(numTokens / blockTokens))
  return { kind: 'blocks', numTokens, blockTokens, blocks }
}

/** One name per hash id: numbers up to 2^64, or texts. */
function blockNames(field: string, ids: readonly unknown[]): string[] {
  return ids.map((id) => {
    if (typeof id === 'number' && Number.isInteger(id)) return ofInteger(BigInt(id))
    if (typeof id === 'string' && id.startsWith(INTEGER_MARK)) return ofInteger(BigInt(id.slice(INTEGER_MARK.length)))
    if (typeof id === 'string' && /^[0-9a-f]{16}$/.test(id)) return id
    if (typeof id === 'string') return hashName(id)
    throw new BadItem(`${field}: want whole numbers or texts, found ${shown(id)}`)
  })
}

const ofInteger = (id: bigint): string =>
  BigInt.asUintN(64, id % MAX_ID)
    .toString(16)
    .padStart(DIGITS, '0')

/** A name as the number that `blockNames` makes the same name of. */
export const blockId = (name: string): bigint => BigInt(`0x${name}`)

/** Names of larger or smaller blocks: equal prefixes stay equal, others differ. Undefined where blocks do not fit. */
export function reblock(
  names: readonly string[],
  { from, to, numTokens }: { readonly from: number; readonly to: number; readonly numTokens: number },
): string[] | undefined {
  if (from === to || names.length === 0) return [...names]
  if (to % from !== 0) return undefined
  const perBlock = to / from
  const blocks: string[] = []
  const chain = createHash('sha256')
  const numFrom = Math.min(names.length, Math.ceil(numTokens / from))
  for (let i = 0; i < numFrom; i++) {
    chain.update(`${names[i] ?? ''}\n`)
    if ((i + 1) % perBlock === 0 || i === numFrom - 1) blocks.push(chain.copy().digest('hex').slice(0, DIGITS))
  }
  return blocks
}
