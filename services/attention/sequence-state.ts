// What an attention worker holds of a sequence between steps, and how a step's entry moves it on.
//
// Invariants
//   S1  `epoch` counts steps. Epoch e+1 commits the accepted nodes of step e exactly once; a repeated epoch commits
//       nothing; anything else is a gap and is refused, so that the router prefills the sequence again. So is an epoch
//       after a tail that was not computed to its end: a repeated step that fails leaves a part of its rows behind.
//   S2  The tail's rows take the slots behind the committed ones, node after node: attention adds up what a row sees in
//       the order of slots, which rise along every path, whatever lies between.

import { ClusterError } from '../../lib/errors.js'
import { rowViews } from '../../lib/compute/attention-batch.js'
import { createSampler, type Sampler } from '../../lib/sampling/sampler.js'
import type { SamplingParams } from '../../lib/sampling/params.js'
import { depths } from '../../lib/speculative/token-tree.js'
import type { StepEntry } from '../../lib/wire/messages.js'
import { readI32 } from '../../lib/wire/tensor.js'
import type { AttentionEngine, SequenceCache, StepSpan } from '../../lib/decode/attention-engine.js'
import { createTokenBuffer, type TokenBuffer } from './token-buffer.js'

export interface SequenceState {
  readonly cache: SequenceCache
  readonly promptLength: number
  readonly sampler: Sampler
  readonly sampling: SamplingParams
  epoch: number
  readonly tokens: TokenBuffer // committed tokens, cache.length of them
  tail: Tail
  isTailComputed: boolean // to its end
}

export interface Tail {
  readonly tokens: Int32Array // [nodes]
  readonly parents: Int32Array // [nodes]
  readonly positions: Int32Array // [nodes]
  readonly slots: Int32Array // [nodes]
  readonly sampled: Int32Array // nodes to sample at
}

export interface Limits {
  readonly vocabSize: number
  readonly maxPositions: number
}

type Start = NonNullable<StepEntry['start']>

const samplingOf = (sampling: Start['sampling']): SamplingParams => ({
  ...sampling,
  seed: BigInt(sampling.seed),
})

type Sequences = ReadonlyMap<string, SequenceState>

/**
 * A sequence from an entry with `start`, with the KV of a prefix where it names a sequence that holds it. Throws
 * `failed_precondition` where that one does not.
 */
export function openSequence(
  { promptLength, choice, sampling, prefix }: Start,
  engine: Pick<AttentionEngine, 'openCache'>,
  others: Sequences,
): SequenceState {
  const none = new Int32Array(0)
  const params = samplingOf(sampling)
  const sampler = createSampler(params, choice) // refuses before anything is shared
  const tokens = prefix === undefined ? none : readI32(prefix.tokens, 'prefix')
  return {
    cache: prefix === undefined ? engine.openCache() : forkPrefix(others.get(prefix.sequence), tokens),
    promptLength,
    sampler,
    sampling: params,
    epoch: -1,
    tokens: createTokenBuffer(tokens),
    tail: { tokens: none, parents: none, positions: none, slots: none, sampled: none },
    isTailComputed: false,
  }
}

function forkPrefix(source: SequenceState | undefined, tokens: Int32Array): SequenceCache {
  const held = source === undefined ? [] : heldTokens(source)
  if (source === undefined || !tokens.every((token, i) => held[i] === token)) {
    throw new ClusterError('failed_precondition', `prefix of ${tokens.length} tokens: not held here`)
  }
  return source.cache.fork(tokens.length)
}

/** Tokens whose KV lies in position order: the committed ones, and the chain that the tail begins with. */
function heldTokens({ tokens, tail, cache, isTailComputed }: SequenceState): ArrayLike<number> {
  if (!isTailComputed) return tokens.withRoom(0)
  let chain = 0
  while (
    chain < tail.tokens.length &&
    tail.parents[chain] === chain - 1 &&
    tail.slots[chain] === cache.length + chain
  ) {
    chain += 1
  }
  return [...tokens.withRoom(0), ...tail.tokens.subarray(0, chain)]
}

/** Commits what the entry says was accepted and lays out its rows as the new tail. Throws on a gap or a bad tree. */
export function advance(state: SequenceState, entry: StepEntry, limits: Limits): void {
  const isNext = entry.epoch === state.epoch + 1
  if (!isNext && entry.epoch !== state.epoch) {
    throw new ClusterError(
      'failed_precondition',
      `sequence ${entry.sequence}: want epoch ${state.epoch} or ${state.epoch + 1}, got ${entry.epoch}`,
    )
  }
  if (isNext && entry.accepted.shape[0] !== 0 && !state.isTailComputed) {
    throw new ClusterError('failed_precondition', `sequence ${entry.sequence}: epoch ${state.epoch} was not computed`)
  }
  const accepted = isNext ? readI32(entry.accepted, 'accepted') : new Int32Array(0)
  const base = state.cache.length + accepted.length
  if (entry.base !== base) {
    throw new ClusterError('failed_precondition', `sequence ${entry.sequence}: want base ${base}, got ${entry.base}`)
  }
  const tail = layOut(entry, limits) // throws before anything is committed: the epoch stays too (S1)
  commit(state, accepted)
  state.tail = tail
  state.isTailComputed = false
  state.epoch = entry.epoch
  state.cache.reserve(highest(state.tail.slots) + 1)
  state.cache.own(state.tail.slots) // where there is no memory for it, this sequence alone is refused
}

function commit(state: SequenceState, accepted: Int32Array): void {
  const { tail } = state
  for (const node of accepted) {
    if (node < 0 || node >= tail.tokens.length) {
      throw new ClusterError('failed_precondition', `accepted node ${node}: want 0 … ${tail.tokens.length - 1}`)
    }
  }
  state.cache.commit(accepted.map((node) => tail.slots[node]!))
  for (const node of accepted) state.tokens.push(tail.tokens[node]!)
}

function layOut(entry: StepEntry, limits: Limits): Tail {
  const tokens = readI32(entry.tokens, 'tokens')
  const parents = readI32(entry.parents, 'parents')
  const sampled = readI32(entry.sampled, 'sampled')
  checkRows(entry.sequence, { tokens, parents, sampled }, limits)
  const nodeDepths = depths({ tokens, parents })
  const positions = nodeDepths.map((depth) => entry.base + depth)
  const deepest = positions.reduce((most, position) => Math.max(most, position), 0)
  if (deepest >= limits.maxPositions) {
    throw new ClusterError('invalid_argument', `position ${deepest}: the context ends at ${limits.maxPositions}`)
  }
  return { tokens, parents, positions, slots: tokens.map((_, node) => entry.base + node), sampled }
}

function checkRows(
  sequence: string,
  { tokens, parents, sampled }: { tokens: Int32Array; parents: Int32Array; sampled: Int32Array },
  { vocabSize }: Limits,
): void {
  const fail = (what: string): never => {
    throw new ClusterError('invalid_argument', `sequence ${sequence}: ${what}`)
  }
  if (tokens.length === 0 || parents.length !== tokens.length) {
    fail(`want at least one row and as many parents, got ${tokens.length} tokens and ${parents.length} parents`)
  }
  for (let node = 0; node < tokens.length; node++) {
    const parent = parents[node]!
    if (tokens[node]! < 0 || tokens[node]! >= vocabSize) fail(`token ${tokens[node]!}: want 0 … ${vocabSize - 1}`)
    if (node === 0 ? parent !== -1 : parent < 0 || parent >= node) fail(`parent of node ${node}: got ${parent}`)
  }
  for (const node of sampled) if (node < 0 || node >= tokens.length) fail(`sampled node ${node} is not in the tree`)
}

const highest = (slots: Int32Array): number => slots.reduce((most, slot) => Math.max(most, slot), 0)

/** The tail's rows, in order; their slots are this sequence's own from here on. */
export function attentionSpan({ cache, tail }: SequenceState): StepSpan {
  cache.own(tail.slots)
  return { cache, views: rowViews(cache.length, tail.parents, tail.slots), slots: tail.slots }
}

/** Committed tokens and the path to a node: what the next token is sampled after. Each call overwrites the one before. */
export function createPaths({ tokens, tail }: SequenceState): (node: number) => Int32Array {
  const nodeDepths = depths(tail)
  const deepest = nodeDepths.reduce((most, depth) => Math.max(most, depth), 0)
  const path = tokens.withRoom(deepest + 1)
  return (node) => {
    const end = tokens.length + nodeDepths[node]! + 1
    for (let at = node, i = end - 1; at >= 0; at = tail.parents[at]!, i--) path[i] = tail.tokens[at]!
    return path.subarray(0, end)
  }
}
