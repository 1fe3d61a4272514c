// The attention worker's share of the checkpoint in the engine's memory: the attention layers, the LM head, and
// embedding rows read on demand.

import {
  createAttentionLayer,
  layerBytes,
  packAttention,
  type AttentionLayer,
  type HeadGeometry,
} from '../compute/attention-layer.js'
import { concat } from '../compute/concat.js'
import type { Kernels } from '../compute/kernels.js'
import type { LinearWeights } from '../compute/linear-weights.js'
import { createLmHead, packLmHead, type LmHead } from '../compute/lm-head.js'
import { createRoom, type Room } from '../compute/room.js'
import { createRopeTables, type RopeTables } from '../compute/rope-tables.js'
import { roundedBlocks } from '../compute/tiles.js'
import type { WeightStore } from '../compute/weight-store.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { firstAttention, grouped, headsOf } from '../model/attention-parts.js'
import { linearOf } from '../model/weights.js'
import type { FfnLayerSpec, LayerSpec, ModelSpec, WeightFormat } from '../model/spec.js'
import { shardPlan, type ShardPlan } from '../model/expert-shards.js'

export interface AttentionModel {
  readonly spec: ModelSpec
  readonly plan: ShardPlan
  /** Blocks of a row that experts read rounded; 0: they read float32. */
  readonly expertBlocks: number
  readonly kernels: Kernels
  /** For the operands of the running step's micro-batches. */
  readonly rooms: readonly Room[]
  readonly layers: readonly AttentionLayer[]
  readonly head: LmHead
  readonly rope: RopeTables
  /** Embeddings [tokens, hidden]. */
  embed(tokens: ArrayLike<number>): Float32Array
  dispose(): void
}

export interface LoadOptions {
  readonly format: WeightFormat
  readonly kernels: Kernels
  readonly weights: WeightStore
  readonly turn: () => Promise<void> // of the event loop
}

/** Packs the attention side's weights (or finds them packed) and places them in the engine's memory. */
export async function loadAttentionModel(checkpoint: Checkpoint, options: LoadOptions): Promise<AttentionModel> {
  const { spec } = checkpoint
  const layers: AttentionLayer[] = []
  for (const index of spec.layers.keys()) {
    layers.push(loadLayer(checkpoint, index, options))
    await options.turn() // heartbeats go out while the weights are loaded
  }
  const head = loadHead(checkpoint, options)
  const rooms = [createRoom(options.kernels), createRoom(options.kernels)]
  options.weights.loaded()
  return {
    spec,
    plan: shardPlan(spec),
    expertBlocks: roundedBlocks(spec.hidden, options.format),
    kernels: options.kernels,
    rooms,
    layers,
    head,
    rope: createRopeTables(firstAttention(spec).rope, geometryOf(spec).headDim),
    embed: (tokens) => embed(checkpoint, tokens),
    dispose: () => {
      for (const part of [head, ...rooms, ...layers]) part.dispose()
    },
  }
}

function loadHead(checkpoint: Checkpoint, { format, kernels, weights }: LoadOptions): LmHead {
  const { spec } = checkpoint
  const set = weights.open('lm-head', () => packLmHead(headWeights(checkpoint), format))
  return createLmHead(kernels, set, { hidden: spec.hidden, vocabSize: spec.vocabSize, epsilon: spec.normEpsilon })
}

/** Final norm and LM head. */
export const headWeights = (checkpoint: Checkpoint) => ({
  norm: checkpoint.tensor(checkpoint.spec.finalNorm),
  head: linearOf(checkpoint, checkpoint.spec.lmHead),
})

/** The head geometry that every layer of the supported families shares. */
export function geometryOf(spec: ModelSpec): HeadGeometry {
  const attention = firstAttention(spec)
  return { numHeads: attention.numHeads, ...headsOf(attention) }
}

function loadLayer(checkpoint: Checkpoint, index: number, { format, kernels, weights }: LoadOptions): AttentionLayer {
  const { hidden, normEpsilon: epsilon, layers } = checkpoint.spec
  const layer = layers[index]!
  const { numHeads, numKvHeads, headDim, clip, qkNorm } = grouped(layer.attention, 'engine')
  const geometry = { numHeads, numKvHeads, headDim }
  const set = weights.open(`attention-${index}`, () => packAttention(attentionWeights(checkpoint, layer), format))
  const pageOffset = index * layerBytes(geometry)
  return createAttentionLayer(kernels, set, {
    ...geometry,
    hidden,
    epsilon,
    qkNorm: qkNorm?.over,
    clip,
    pageOffset,
    expertBlocks: roundedBlocks(hidden, format),
  })
}

/** A layer's tensors on the side of attention. */
export function attentionWeights(checkpoint: Checkpoint, layer: LayerSpec) {
  const { attentionNorm, ffnNorm, ffn } = layer
  const attention = grouped(layer.attention, 'engine')
  const { qkNorm } = attention
  return {
    norm: checkpoint.tensor(attentionNorm),
    q: linearOf(checkpoint, attention.q),
    k: linearOf(checkpoint, attention.k),
    v: linearOf(checkpoint, attention.v),
    qkNorm: qkNorm && { q: checkpoint.tensor(qkNorm.q), k: checkpoint.tensor(qkNorm.k) },
    o: linearOf(checkpoint, attention.o),
    ffnNorm: checkpoint.tensor(ffnNorm),
    gate: gateWeights(checkpoint, ffn),
  }
}

/** Gate rows and, below them, the shared expert's sigmoid gate: [routed + 0 or 1, hidden]. */
function gateWeights(checkpoint: Checkpoint, ffn: FfnLayerSpec): LinearWeights | undefined {
  const refs = [ffn.gate?.weight, ffn.always?.sigmoidGate].filter((ref) => ref !== undefined)
  if (refs.length === 0) return undefined
  const weights = concat(refs.map((ref) => checkpoint.tensor(ref)))
  const inputs = checkpoint.spec.hidden
  return { weights, inputs, outputs: weights.length / inputs }
}

/** Rows of the embedding: [tokens, hidden]. */
export function embed(checkpoint: Checkpoint, tokens: ArrayLike<number>): Float32Array {
  const { hidden, embedding } = checkpoint.spec
  const result = new Float32Array(tokens.length * hidden)
  for (let i = 0; i < tokens.length; i++) result.set(checkpoint.rows(embedding, tokens[i]!, 1), i * hidden)
  return result
}
