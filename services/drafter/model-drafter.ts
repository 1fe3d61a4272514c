// Drafts with a smaller model of any supported family that has the target's tokenizer. It runs whole in this process.
//
// Invariants
//   M1  The cache holds committed tokens only, the root's row included; nodes that came true are kept, not run again.

import { createRoom } from '../../lib/compute/room.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import type { AttentionSpan } from '../../lib/compute/attention-batch.js'
import type { TouchedExpert } from '../../lib/compute/expert-call.js'
import type { PlacedExpert } from '../../lib/compute/expert-layer.js'
import { createWeightStore } from '../../lib/compute/weight-store.js'
import { loadAttentionModel, type AttentionModel } from '../../lib/decode/attention-model.js'
import { createExpertStore, type CpuExpertStore } from '../../lib/decode/expert-store.js'
import { runInPlace } from '../../lib/decode/experts-in-place.js'
import { batchRows, lastHidden, layOut, runAttention } from '../../lib/decode/layers.js'
import type { PagePool } from '../../lib/decode/kv-cache.js'
import { ClusterError } from '../../lib/errors.js'
import { headsOf } from '../../lib/model/attention-parts.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import type { ModelTokenizer } from '../../lib/model/tokenizer.js'
import { groupRows, type DraftModel, type NodeRow } from './draft-model.js'
import type { DraftSequence } from './draft-source.js'
import { NodeCache } from './node-cache.js'

const MAX_CHUNK = 128 // tokens that a call takes in: a long prompt takes several, and nobody waits for all of them

interface State {
  readonly cache: NodeCache
  readonly held: number[] // tokens in the cache
  readonly nodes: Map<number, { readonly parent: number; readonly token: number }> // run after the root
}

export interface ModelDrafterOptions {
  readonly kernels: Kernels
  readonly format: WeightFormat
  readonly target: Checkpoint
  readonly turn: () => Promise<void> // of the event loop
}

/** Throws `failed_precondition` where the vocabularies differ. */
export async function createModelDrafter(checkpoint: Checkpoint, options: ModelDrafterOptions): Promise<DraftModel> {
  checkVocabulary(checkpoint, options.target)
  const { kernels, format, turn } = options
  const weights = createWeightStore(undefined)
  const model = await loadAttentionModel(checkpoint, { format, kernels, weights, turn })
  const store = createExpertStore({ checkpoint, format, kernels, weights, turn })
  await store.place(Array.from({ length: store.plan.numShards }, (_, shard) => shard))
  const pool = { kernels, layers: model.spec.layers.map(({ attention }) => headsOf(attention)), format: model.kv }
  const states = new Map<string, State>()
  const run = createRunner(model, store)

  const follow: DraftModel['follow'] = (following) => {
    const work = following.map(({ sequence }) => ({ sequence, state: stateOf(states, pool, sequence) }))
    for (const { sequence, state } of work) keepPath(state, sequence.committed)
    const missing = work.map(({ sequence, state }) => Array.from(sequence.committed.subarray(state.held.length)))
    return work.map(({ state }, i) => runChain(run, state, missing[i]!))
  }

  const expand: DraftModel['expand'] = (rows) => {
    const groups = [...groupRows(rows).values()]
    const inOrder = groups.flat()
    const spans = groups.map((group) => {
      const state = stateOf(states, pool, group[0]!.sequence)
      for (const { node, parent, token } of group) state.nodes.set(node, { parent, token })
      return state.cache.place(group)
    })
    const places = new Map(inOrder.map((row, place) => [row, place]))
    const logits = run(
      spans,
      inOrder.map(({ token }) => token),
      inOrder.map(({ sequence, depth }) => sequence.committed.length - 1 + depth),
      inOrder.map((_, place) => place),
    )
    return rows.map((row: NodeRow) => logits[places.get(row)!]!)
  }

  return {
    name: 'model',
    hidden: 0,
    backlog: ({ sequence }) => sequence.committed.length - (states.get(sequence.id)?.held.length ?? 0),
    follow,
    expand,
    forget: (id) => {
      states.get(id)?.cache.release()
      states.delete(id)
    },
    dispose: () => {
      for (const { cache } of states.values()) cache.release()
      model.dispose()
      void store.dispose()
    },
  }
}

function checkVocabulary(draft: Checkpoint, target: Checkpoint): void {
  if (draft.spec.vocabSize !== target.spec.vocabSize) {
    throw new ClusterError(
      'failed_precondition',
      `draft model ${draft.path}: want the target's ${target.spec.vocabSize} tokens, found ${draft.spec.vocabSize}`,
    )
  }
  if (draft.tokenizer === undefined || target.tokenizer === undefined) return
  for (let token = 0; token < target.spec.vocabSize; token++) {
    const [ours, theirs] = [nameOf(draft.tokenizer, token), nameOf(target.tokenizer, token)]
    if (ours === theirs) continue
    throw new ClusterError(
      'failed_precondition',
      `draft model ${draft.path}: want the target's tokenizer; token ${token} is ${theirs} there, ${ours} here`,
    )
  }
}

/** A token's text and bytes: several that are no whole character have no text. */
function nameOf(tokenizer: ModelTokenizer, token: number): string {
  const bytes = Buffer.from(tokenizer.tokenBytes(token)).toString('hex')
  return `${JSON.stringify(tokenizer.tokenText(token))} (${bytes})`
}

function stateOf(states: Map<string, State>, pool: PagePool, { id }: DraftSequence): State {
  const known = states.get(id)
  if (known !== undefined) return known
  const state: State = { cache: new NodeCache(pool), held: [], nodes: new Map() }
  states.set(id, state)
  return state
}

/** Commits the run nodes that came true (M1). */
function keepPath(state: State, committed: Int32Array): void {
  const path: number[] = []
  let parent = 0
  for (let at = state.held.length; at < committed.length - 1; at++) {
    const next = [...state.nodes].find(([, node]) => node.parent === parent && node.token === committed[at])
    if (next === undefined) break
    path.push(next[0])
    state.held.push(committed[at]!)
    parent = next[0]
  }
  state.cache.commit(path)
  state.nodes.clear()
}

type Run = (
  spans: readonly AttentionSpan[],
  tokens: readonly number[],
  positions: readonly number[],
  sampled: readonly number[],
) => readonly Float32Array[]

/** Runs the next tokens after what is held; logits after the last one, where that was the last of all. */
function runChain(run: Run, state: State, tokens: readonly number[]): Float32Array | undefined {
  const chunk = tokens.slice(0, MAX_CHUNK)
  if (chunk.length === 0) return undefined
  const positions = chunk.map((_, i) => state.held.length + i)
  const [logits] = run([state.cache.append(chunk.length)], chunk, positions, [chunk.length - 1])
  state.held.push(...chunk)
  return chunk.length === tokens.length ? logits?.slice() : undefined
}

function createRunner(model: AttentionModel, store: CpuExpertStore): Run {
  const room = createRoom(model.kernels)
  const find =
    (layer: number) =>
    (touched: readonly TouchedExpert[]): readonly PlacedExpert[] =>
      touched.flatMap(({ shard, expert }) => store.expert(layer, shard, expert) ?? [])
  return (spans, tokens, positions, sampled) => {
    const batch = layOut(model, room, batchRows(model, spans, tokens, positions))
    for (const index of model.layers.keys()) {
      const { operands, routes } = runAttention(model, index, batch)
      runInPlace(store.plan, index, operands, routes, find(index))
    }
    return model.head.run(lastHidden(model, batch), sampled)
  }
}
