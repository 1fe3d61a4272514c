// Byte-pair encoding of one piece of text: its characters, merged in the order of the merges' ranks.
//
// Invariants
//   BP1  Of all possible merges the one of the lowest rank is made first, of equal ones the leftmost.
//   BP2  Work is n log n in the piece's length, in bounded steps: a text without spaces is one piece.

import { ClusterError } from '../../errors.js'
import { createMergeQueue, placeOf, rankOf } from './merge-queue.js'
import { createPairTable, type PairTable } from './pair-table.js'
import type { BpeModel } from './published.js'
import { finish, type Steps } from './steps.js'

export interface BytePairs {
  readonly vocabulary: Vocabulary
  /** Appends the piece's ids. */
  encode(piece: string, ids: number[]): void
  /** The same in steps, for long pieces. */
  encodeSteps(piece: string, ids: number[]): Steps<void>
}

export interface Vocabulary {
  readonly ids: ReadonlyMap<string, number>
  readonly pieces: readonly (string | undefined)[] // by id
}

const MAX_CACHED_PIECES = 16_384
const MAX_CACHED_LENGTH = 32
const STEP = 4096 // symbols or merges

export function bytePairs(model: BpeModel, path: string): BytePairs {
  const vocabulary = vocabularyOf(model, path)
  const pairs = pairsOf(model, vocabulary, path)
  const symbols = symbolsOf(model, vocabulary, path)
  const cache = new Map<string, readonly number[]>() // words come again and again
  function* encodeSteps(piece: string, ids: number[]): Steps<void> {
    const whole = model.ignore_merges === true ? vocabulary.ids.get(piece) : undefined
    if (whole === undefined) yield* merge(yield* symbols(piece), pairs, ids)
    else ids.push(whole)
  }
  return {
    vocabulary,
    encodeSteps,
    encode: (piece, ids) => {
      const known = cache.get(piece)
      if (known !== undefined) {
        for (const id of known) ids.push(id)
        return
      }
      const start = ids.length
      finish(encodeSteps(piece, ids))
      if (piece.length > MAX_CACHED_LENGTH) return
      if (cache.size === MAX_CACHED_PIECES) cache.clear()
      cache.set(piece, ids.slice(start))
    },
  }
}

const MAX_ID = 2 ** 24

function vocabularyOf({ vocab }: BpeModel, path: string): Vocabulary {
  const ids = new Map<string, number>()
  const pieces: (string | undefined)[] = []
  for (const piece of Object.keys(vocab)) {
    const id = vocab[piece]
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > MAX_ID) {
      const found = `${JSON.stringify(piece)}: want an id from 0 to ${MAX_ID}, got ${JSON.stringify(id)}`
      throw new ClusterError('invalid_argument', `${path}: model.vocab: ${found}`)
    }
    ids.set(piece, id)
    pieces[id] = piece
  }
  return { ids, pieces }
}

function pairsOf(model: BpeModel, { ids }: Vocabulary, path: string): PairTable {
  const table = createPairTable(model.merges.length)
  const prefixLength = model.continuing_subword_prefix?.length ?? 0
  for (const [rank, merge] of model.merges.entries()) {
    const [first, second] = partsOf(merge, path, rank)
    const [left, right, merged] = [ids.get(first), ids.get(second), ids.get(first + second.slice(prefixLength))]
    if (left === undefined || right === undefined || merged === undefined) {
      const found = `${JSON.stringify(first)} and ${JSON.stringify(second)}`
      throw new ClusterError('invalid_argument', `${path}: model.merges.${rank}: ${found}: want tokens of model.vocab`)
    }
    table.set(left, right, rank, merged)
  }
  return table
}

function partsOf(merge: unknown, path: string, rank: number): readonly [string, string] {
  const parts: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
  const [first, second] = parts
  if (parts.length === 2 && typeof first === 'string' && typeof second === 'string') return [first, second]
  const found = JSON.stringify(merge).slice(0, 80)
  throw new ClusterError('invalid_argument', `${path}: model.merges.${rank}: want two tokens, got ${found}`)
}

const hexByte = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0')

/** The ids that a piece begins with, before any merge: of its characters, of their bytes, or of the unknown token. */
function symbolsOf(model: BpeModel, { ids }: Vocabulary, path: string): (piece: string) => Steps<Int32Array> {
  const prefix = model.continuing_subword_prefix ?? ''
  const suffix = model.end_of_word_suffix ?? ''
  const byteIds = Array.from({ length: 256 }, (_, byte) => ids.get(`<0x${hexByte(byte)}>`))
  const unknown = typeof model.unk_token === 'string' ? ids.get(model.unk_token) : undefined
  if (typeof model.unk_token === 'string' && unknown === undefined) {
    throw new ClusterError('invalid_argument', `${path}: model.unk_token: ${model.unk_token} is not in model.vocab`)
  }
  const ofBytes = (character: string): readonly number[] => {
    const found = [...Buffer.from(character)].map((byte) => byteIds[byte])
    return model.byte_fallback === true && found.every((id) => id !== undefined) ? found : []
  }
  return function* (piece) {
    const symbols = new Int32Array(3 * piece.length) // a UTF-16 unit has at most three bytes
    let length = 0
    let isUnknown = false // the last symbol stands for unknown characters, and the next one joins it
    for (let at = 0, pause = STEP; at < piece.length;) {
      if (at >= pause) {
        pause += STEP
        yield
      }
      const character = String.fromCodePoint(piece.codePointAt(at) ?? 0)
      const next = at + character.length
      const id = ids.get((at > 0 ? prefix : '') + character + (next === piece.length ? suffix : ''))
      const found = id === undefined ? ofBytes(character) : [id]
      at = next
      for (const symbol of found) symbols[length++] = symbol
      if (found.length > 0) isUnknown = false
      else if (unknown !== undefined && !(isUnknown && model.fuse_unk === true)) {
        symbols[length++] = unknown
        isUnknown = true
      }
    }
    return symbols.subarray(0, length)
  }
}

/** Symbols are a list linked by `next` and `before`; a symbol that was merged into its left neighbour is -1. */
function* merge(symbols: Int32Array, pairs: PairTable, ids: number[]): Steps<void> {
  const size = symbols.length
  const next = new Int32Array(size)
  const before = new Int32Array(size)
  const queue = createMergeQueue()
  const slotAt = (place: number): number => {
    const right = next[place]!
    return right < size ? pairs.find(symbols[place]!, symbols[right]!) : -1
  }
  const offer = (place: number): void => {
    const slot = slotAt(place)
    if (slot !== -1) queue.push(pairs.rankAt(slot), place)
  }
  for (let place = 0; place < size; place++) {
    next[place] = place + 1
    before[place] = place - 1
    offer(place)
    if (place % STEP === STEP - 1) yield
  }
  let numMerges = 0
  for (let best = queue.pop(); best !== -1; best = queue.pop()) {
    if ((numMerges += 1) % STEP === 0) yield
    const place = placeOf(best)
    const slot = symbols[place] === -1 ? -1 : slotAt(place)
    if (slot === -1 || pairs.rankAt(slot) !== rankOf(best)) continue // its symbols were merged otherwise meanwhile
    const right = next[place]!
    symbols[place] = pairs.mergedAt(slot)
    symbols[right] = -1
    next[place] = next[right]!
    if (next[place] < size) before[next[place]] = place
    offer(place)
    if (before[place]! >= 0) offer(before[place]!)
  }
  for (let place = 0; place < size; place = next[place]!) ids.push(symbols[place]!)
}
