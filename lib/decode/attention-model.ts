// The attention worker's share of the checkpoint in the engine's memory: the attention layers, the LM head, and
// embedding rows read on demand.

import { batchShape, type BatchShape } from '../compute/attention-batch.js'
import {
  createAttentionLayer,
  packAttention,
  type AttentionLayer,
  type HeadGeometry,
} from '../compute/attention-layer.js'
import { concat } from '../compute/concat.js'
import { collectDropped } from '../compute/garbage.js'
import type { Kernels } from '../compute/kernels.js'
import { pageBytes } from '../compute/kv-layout.js'
import { createLatentAttentionLayer } from '../compute/latent-attention-layer.js'
import { packLatentAttention } from '../compute/latent-weights.js'
import type { LinearWeights } from '../compute/linear-weights.js'
import { createLmHead, packLmHead, type LmHead } from '../compute/lm-head.js'
import { forgetKept, giveBack } from '../compute/recycled.js'
import { createRoom, type Room } from '../compute/room.js'
import { createRopeTables, type RopeTables } from '../compute/rope-tables.js'
import { roundedBlocks } from '../compute/tiles.js'
import { inTurns, type Steps } from '../compute/steps.js'
import type { WeightSet, WeightStore } from '../compute/weight-store.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { firstAttention, headsOf, rotatedDims } from '../model/attention-parts.js'
import type { KvFormat } from '../model/kv-formats.js'
import { attentionBytes, modelSizes } from '../model/sizes.js'
import { linearOf } from '../model/weights.js'
import type {
  FfnLayerSpec,
  GroupedAttentionSpec,
  LatentAttentionSpec,
  LayerSpec,
  ModelSpec,
  TensorRef,
  WeightFormat,
} from '../model/spec.js'
import { shardPlan, type ShardPlan } from '../model/expert-shards.js'
import { checkEmbedding, createEmbedding, type Embed } from './embedding.js'
import { countLoad, type LoadCount, type OnProgress } from './load-progress.js'

export interface AttentionModel {
  readonly spec: ModelSpec
  readonly plan: ShardPlan
  /** Blocks of a row that experts read rounded; 0: they read float32. */
  readonly expertBlocks: number
  readonly kv: KvFormat
  readonly kernels: Kernels
  readonly shape: BatchShape
  /** For the operands of the running step's micro-batches. */
  readonly rooms: readonly Room[]
  readonly layers: readonly AttentionLayer[]
  readonly corrections: readonly (Float32Array | undefined)[] // of the layers' gates
  readonly head: LmHead
  /** The distinct rotations of the layers. */
  readonly rotations: readonly RopeTables[]
  /** Embeddings [tokens, hidden]. */
  readonly embed: Embed
  dispose(): void
}

export interface LoadOptions {
  readonly format: WeightFormat
  readonly kv?: KvFormat | undefined // of the cache; f32, unless given
  readonly kernels: Kernels
  readonly weights: WeightStore
  /** Of the event loop; the load ends where it rejects. */
  readonly turn: () => Promise<void>
  readonly onProgress?: OnProgress | undefined
}

/** Packs the attention side's weights (or finds them packed) and places them in the engine's memory. */
export async function loadAttentionModel(checkpoint: Checkpoint, options: LoadOptions): Promise<AttentionModel> {
  const { spec } = checkpoint
  const rotations = distinctRotations(spec)
  const count = countAttention(checkpoint, options)
  const layers: AttentionLayer[] = []
  const loaded: { dispose(): void }[] = []
  const load = async <T extends { dispose(): void }>(steps: Steps<T>, bytes: number): Promise<T> => {
    const part = await inTurns(steps, options.turn) // heartbeats go out while the weights are loaded
    loaded.push(part)
    count.add(bytes)
    return part
  }
  let head: LmHead
  try {
    for (const [index, layer] of spec.layers.entries()) {
      const steps = loadLayer(checkpoint, index, rotations.places[index]!, options)
      layers.push(await load(steps, attentionBytes(layer, options.format)))
    }
    head = await load(loadHead(checkpoint, options), modelSizes(spec, options.format).head)
  } catch (error) {
    for (const part of loaded) part.dispose()
    throw error
  }
  forgetKept()
  collectDropped()
  const rooms = [createRoom(options.kernels), createRoom(options.kernels)]
  const expertBlocks = roundedBlocks(spec.hidden, options.format)
  const needs = layers.map((layer) => layer.needs)
  return {
    spec,
    plan: shardPlan(spec),
    expertBlocks,
    kv: options.kv ?? 'f32',
    kernels: options.kernels,
    shape: batchShape(needs, { hidden: spec.hidden, expertBlocks }),
    rooms,
    layers,
    corrections: correctionsOf(checkpoint),
    head,
    rotations: rotations.tables,
    embed: createEmbedding(checkpoint),
    dispose: () => {
      for (const part of [head, ...rooms, ...layers]) part.dispose()
    },
  }
}

/** Counts what the attention side loads. */
export function countAttention({ spec }: Checkpoint, { format, onProgress = () => undefined }: LoadOptions): LoadCount {
  const { attention, head } = modelSizes(spec, format)
  return countLoad({ bytes: attention + head, experts: 0 }, onProgress)
}

function* loadHead(checkpoint: Checkpoint, { format, kernels, weights }: LoadOptions): Steps<LmHead> {
  const { spec } = checkpoint
  const set = yield* weights.open('lm-head', function* () {
    yield* checkEmbedding(checkpoint)
    return yield* packLmHead(headWeights(checkpoint), format)
  })
  return createLmHead(kernels, set, { hidden: spec.hidden, vocabSize: spec.vocabSize, epsilon: spec.normEpsilon })
}

/** Final norm and LM head. */
export const headWeights = (checkpoint: Checkpoint) => ({
  norm: checkpoint.tensor(checkpoint.spec.finalNorm),
  head: linearOf(checkpoint, checkpoint.spec.lmHead),
})

/** The head geometry of the first layer: of all, where a device computes. */
export function geometryOf(spec: ModelSpec): HeadGeometry {
  const attention = firstAttention(spec)
  const { numKvHeads, headDim } = headsOf(attention)
  return { numHeads: attention.numHeads, numKvHeads, headDim }
}

/** Rotary tables, made once where layers rotate alike, and the place of each layer's among them. */
function distinctRotations({ layers }: ModelSpec): {
  readonly tables: readonly RopeTables[]
  readonly places: readonly number[]
} {
  const made = new Map<string, RopeTables>()
  const keys = layers.map(({ attention }) => {
    const key = JSON.stringify([attention.rope, rotatedDims(attention)])
    if (!made.has(key)) made.set(key, createRopeTables(attention.rope, rotatedDims(attention)))
    return key
  })
  const distinct = [...made.keys()]
  return { tables: [...made.values()], places: keys.map((key) => distinct.indexOf(key)) }
}

function* loadLayer(
  checkpoint: Checkpoint,
  index: number,
  rotation: number,
  options: LoadOptions,
): Steps<AttentionLayer> {
  const { format, kernels, weights, kv = 'f32' } = options
  const { hidden, normEpsilon: epsilon, layers } = checkpoint.spec
  const layer = layers[index]!
  const { attention } = layer
  const { scale, window } = attention
  const shape = {
    ...{ hidden, epsilon, expertBlocks: roundedBlocks(hidden, format), scale, window, rotation },
    pageOffset: pageBytes(
      layers.slice(0, index).map((before) => headsOf(before.attention)),
      kv,
    ),
    kv,
  }
  const open = (pack: () => Steps<WeightSet>): Steps<WeightSet> => weights.open(`attention-${index}`, pack)
  if (attention.kind === 'latent') {
    const set = yield* open(() => packLatentAttention(latentWeights(checkpoint, layer, attention), attention, format))
    const created = createLatentAttentionLayer(kernels, set, {
      ...{ ...attention, ...shape, latentEpsilon: attention.normEpsilon },
    })
    giveBack(set)
    return created
  }
  const { numHeads, numKvHeads, headDim, clip, qkNorm, rope } = attention
  const set = yield* open(() => packAttention(groupedWeights(checkpoint, layer, attention), format))
  const created = createAttentionLayer(kernels, set, {
    ...{ ...shape, numHeads, numKvHeads, headDim, rotatedDim: rope.dims, qkNorm: qkNorm?.over, clip },
  })
  giveBack(set)
  return created
}

/** A layer's tensors on the side of attention, where it is of the grouped kind. */
export function groupedWeights(checkpoint: Checkpoint, layer: LayerSpec, attention: GroupedAttentionSpec) {
  const { qkNorm } = attention
  return {
    ...endWeights(checkpoint, layer),
    q: linearOf(checkpoint, attention.q),
    k: linearOf(checkpoint, attention.k),
    v: linearOf(checkpoint, attention.v),
    qkNorm: qkNorm && { q: checkpoint.tensor(qkNorm.q), k: checkpoint.tensor(qkNorm.k) },
  }
}

function latentWeights(checkpoint: Checkpoint, layer: LayerSpec, attention: LatentAttentionSpec) {
  const { q, kvDown, latentNorm, kvUp } = attention
  return {
    ...endWeights(checkpoint, layer),
    q:
      'down' in q
        ? {
            down: linearOf(checkpoint, q.down),
            norm: checkpoint.tensor(q.norm),
            up: linearOf(checkpoint, q.up),
          }
        : linearOf(checkpoint, q),
    kvDown: linearOf(checkpoint, kvDown),
    latentNorm: checkpoint.tensor(latentNorm),
    kvUp: linearOf(checkpoint, kvUp),
  }
}

function endWeights(checkpoint: Checkpoint, layer: LayerSpec) {
  const { attention, attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ffn } = layer
  const vector = (ref: TensorRef | undefined) => ref && checkpoint.tensor(ref)
  return {
    sinks: vector(attention.sinks),
    norm: checkpoint.tensor(attentionNorm),
    o: linearOf(checkpoint, attention.o),
    postNorm: vector(attentionPostNorm),
    ffnNorm: checkpoint.tensor(ffnNorm),
    ffnPostNorm: vector(ffnPostNorm),
    gate: gateWeights(checkpoint, ffn),
  }
}

/** Gate rows and, below them, the shared expert's sigmoid gate: [routed + 0 or 1, hidden]. */
function gateWeights(checkpoint: Checkpoint, ffn: FfnLayerSpec): LinearWeights | undefined {
  const refs = [ffn.gate?.weight, ffn.always?.sigmoidGate].filter((ref) => ref !== undefined)
  if (refs.length === 0) return undefined
  const weights = concat(refs.map((ref) => checkpoint.tensor(ref)))
  const inputs = checkpoint.spec.hidden
  const outputs = weights.length / inputs
  if (ffn.gate?.bias === undefined) return { weights, inputs, outputs }
  const bias = new Float32Array(outputs) // none for the shared expert's
  bias.set(checkpoint.tensor(ffn.gate.bias))
  return { weights, inputs, outputs, bias }
}

/** What is added to each layer's scores for the choice of experts. */
export const correctionsOf = (checkpoint: Checkpoint): readonly (Float32Array | undefined)[] =>
  checkpoint.spec.layers.map(({ ffn }) => ffn.gate?.correction && checkpoint.tensor(ffn.gate.correction))
