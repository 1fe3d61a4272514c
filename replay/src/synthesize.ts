// Prompts for traces that only have lengths and names of blocks.
//
// Invariants
//   Y1  A token is a function of seed, block name and place in the block: equal names, equal tokens, in any request.
//   Y2  Exactly as many tokens as the trace says; the last block is cut.
//   Y3  Blocks without a name are a request's own: nobody else gets them.

import { createHash } from 'node:crypto'
import type { TracePrompt } from './trace.js'
import { TraceError } from './trace-error.js'

export type BlockPrompt = Extract<TracePrompt, { kind: 'blocks' }>

/** Token ids; both ends count in. */
export interface TokenRange {
  readonly first: number
  readonly last: number
}

/** Ids that may be drawn: those below `size` that are not reserved. */
export interface VocabularyOptions {
  readonly size: number
  readonly reserved?: readonly TokenRange[]
}

/** Ids to draw from, ascending. */
export type Vocabulary = Uint32Array

export function createVocabulary({ size, reserved = [] }: VocabularyOptions): Vocabulary {
  const isReserved = new Uint8Array(size)
  for (const { first, last } of reserved) isReserved.fill(1, first, last + 1)
  const ids = Uint32Array.from({ length: size }, (_, id) => id).filter((id) => isReserved[id] === 0)
  if (ids.length > 0) return ids
  throw new TraceError('invalid_argument', `vocabulary: want an id below ${size} that is not reserved, found none`)
}

export interface SynthesisOptions {
  readonly vocabulary: Vocabulary
  readonly seed: bigint
  readonly requestId: string // names what is the request's own
}

/** The prompt's tokens. */
export function synthesizeTokens({ numTokens, blockTokens, blocks }: BlockPrompt, options: SynthesisOptions): number[] {
  const tokens = new Array<number>(numTokens)
  const named = Math.min(numTokens, blocks.length * blockTokens)
  for (let start = 0, block = 0; start < named; start += blockTokens, block++)
    draw(
      tokens,
      start,
      Math.min(named, start + blockTokens),
      keyOf(options.seed, `block ${blocks[block] ?? ''}`),
      options,
    )
  draw(tokens, named, numTokens, keyOf(options.seed, `request ${options.requestId}`), options)
  return tokens
}

type Key = readonly [number, number]

const keyOf = (seed: bigint, name: string): Key => {
  const digest = createHash('sha256').update(`${seed} ${name}`).digest()
  return [digest.readUInt32LE(0), digest.readUInt32LE(4)]
}

function draw(tokens: number[], start: number, end: number, key: Key, { vocabulary }: SynthesisOptions): void {
  for (let i = start; i < end; i++) tokens[i] = tokenAt(vocabulary, key, i - start)
}

const TWO_32 = 2 ** 32

const tokenAt = (vocabulary: Vocabulary, [low, high]: Key, place: number): number =>
  vocabulary[Math.floor((mix(mix(place ^ low) ^ high) / TWO_32) * vocabulary.length)] ?? 0

/** A bijection of uint32 that spreads every bit (MurmurHash3's finalizer). */
function mix(value: number): number {
  let h = value >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * The served tokenizer, e.g. POST /tokenize and /detokenize: it counts what a completion of the text counts; bare, without
 * what is put around a prompt, it counts an answer.
 */
export interface Tokenizer {
  tokenize(text: string, how?: { readonly isBare?: boolean }): Promise<readonly number[]>
  detokenize(tokens: readonly number[]): Promise<string>
}

export interface SynthesizedText {
  readonly text: string
  readonly numTokens: number // in the served tokenizer, as it said
  readonly isExact: boolean // as many as wanted
}

const MAX_ATTEMPTS = 24

/**
 * A text whose tokens are as many as the prompt's, for endpoints that take no ids. Words of drawn tokens join into
 * others, so the end is cut or gets longer until the tokenizer counts right; equal blocks still give equal beginnings.
 */
export async function synthesizeText(
  prompt: BlockPrompt,
  tokenizer: Tokenizer,
  options: SynthesisOptions,
): Promise<SynthesizedText> {
  const wanted = prompt.numTokens
  const drawn = synthesizeTokens(prompt, options)
  let best: SynthesizedText = { text: '', numTokens: 0, isExact: wanted === 0 }
  let [tooShort, tooLong] = [0, Number.POSITIVE_INFINITY] // lengths in drawn tokens
  let length = wanted
  let numEnds = 0 // other ends that were tried where no length of the drawn one fits
  for (let attempt = 0; attempt < MAX_ATTEMPTS && !best.isExact; attempt++) {
    const text = await tokenizer.detokenize(withEnd(drawn, length, numEnds, options))
    const numTokens = (await tokenizer.tokenize(text)).length
    const isNearer = Math.abs(numTokens - wanted) < Math.abs(best.numTokens - wanted)
    if (isNearer) best = { text, numTokens, isExact: numTokens === wanted }
    if (numTokens < wanted) tooShort = Math.max(tooShort, length)
    else tooLong = Math.min(tooLong, length)
    length += wanted - numTokens
    if (tooLong - tooShort <= 1) length = numEnds++ % 2 === 0 ? tooShort : tooLong
    else if (length <= tooShort || length >= tooLong) length = Math.floor((tooShort + tooLong) / 2)
  }
  return best
}

/** So many of the drawn tokens, and more where they do not suffice; other ends than the first replace the last one. */
function withEnd(drawn: readonly number[], length: number, numEnds: number, options: SynthesisOptions): number[] {
  const kept = drawn.slice(0, numEnds === 0 ? length : Math.max(0, length - 1))
  const key = keyOf(options.seed, `end ${numEnds} of ${options.requestId}`)
  return [...kept, ...Array.from({ length: length - kept.length }, (_, i) => tokenAt(options.vocabulary, key, i))]
}
