// A device as an attention worker's engine: weights, keys and values stay there. Of each layer one upload (the experts'
// sums) and one download (normed rows and gate logits; of the last layer h as well) per run of rows. Normed rows and sums
// lie in the CPU kernels' memory, where dispatch and the frames want them.

import { sliceSpans } from '../compute/attention-batch.js'
import { attentionGraph, packDeviceAttention, type DeviceLayerShape } from '../compute/gpu/attention-graph.js'
import { deviceRuns, type DeviceSpan } from '../compute/gpu/attention-runs.js'
import { createDeviceLmHead, packDeviceLmHead } from '../compute/gpu/device-lm-head.js'
import type { LmHead } from '../compute/lm-head.js'
import { createRoom, cut } from '../compute/room.js'
import { createRopeTables } from '../compute/rope-tables.js'
import { createSession, type Provider, type Session } from '../compute/session.js'
import { asOneStep, inTurns, type Steps } from '../compute/steps.js'
import { roundedBlocks } from '../compute/tiles.js'
import { ClusterError } from '../errors.js'
import { firstAttention, grouped } from '../model/attention-parts.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { attentionBytes, modelSizes } from '../model/sizes.js'
import { shardPlan } from '../model/expert-shards.js'
import type { AttentionEngine, StepSpan } from './attention-engine.js'
import {
  correctionsOf,
  countAttention,
  geometryOf,
  groupedWeights,
  headWeights,
  type LoadOptions,
} from './attention-model.js'
import { createRunBuffers, openBatch, type DeviceBatch, type DeviceModel } from './device-batch.js'
import { createSlotPool, DeviceCache } from './device-kv.js'
import { checkEmbedding, createEmbedding } from './embedding.js'
import { gateWidth } from './gate.js'

export interface DeviceLoadOptions extends LoadOptions {
  readonly provider: Exclude<Provider, 'cpu'>
  /** Of a run: with so many the device gives a row the same bits in any company. */
  readonly leastRows: Readonly<Record<'attention' | 'head', number>>
  /** Hears of the loss of the device before whoever runs the step does. */
  readonly onDeviceLost?: ((error: ClusterError) => void) | undefined
}

/** An engine, and what it holds on the device. */
export interface DeviceAttentionEngine extends AttentionEngine {
  /** Slots of the pool that sequences hold; those that several share count once. */
  readonly heldSlots: number
  /** Slots that the device has memory for. */
  readonly poolSlots: number
  /** Tensors on the device beside the weights. */
  readonly numTensors: number
}

/** Packs the attention side's weights (or finds them packed) and places them on the device. */
export async function loadDeviceEngine(
  checkpoint: Checkpoint,
  options: DeviceLoadOptions,
): Promise<DeviceAttentionEngine> {
  const { spec } = checkpoint
  const { provider, kernels, format, turn } = options
  const geometry = { ...geometryOf(spec), leastRows: options.leastRows.attention }
  const { hidden } = spec
  const count = countAttention(checkpoint, options)
  const layers: Session[] = []
  for (const index of spec.layers.keys()) {
    layers.push(await inTurns(loadLayer(checkpoint, index, options), turn)) // heartbeats go out meanwhile
    count.add(attentionBytes(spec.layers[index]!, format))
  }
  const head = await inTurns(loadDeviceHead(checkpoint, options), turn)
  count.add(modelSizes(spec, format).head)
  const embed = createEmbedding(checkpoint)
  const rope = createRopeTables(firstAttention(spec).rope, geometry.headDim)
  const pool = createSlotPool({ ...geometry, provider, numLayers: layers.length })
  const buffers = createRunBuffers(provider)
  const rooms = [createRoom(kernels), createRoom(kernels)]
  const model: DeviceModel = {
    spec,
    kernels,
    layers,
    corrections: correctionsOf(checkpoint),
    pool,
    buffers,
    expertBlocks: roundedBlocks(hidden, format),
    onDeviceLost: options.onDeviceLost,
  }
  let open: readonly DeviceBatch[] = []
  const closeBatches = (): void => {
    for (const batch of open) batch.close()
    open = []
  }
  return {
    spec,
    plan: shardPlan(spec),
    head,
    openCache: () => new DeviceCache(pool),
    layOut: ({ spans, tokens, positions }, microBatches) => {
      closeBatches() // of a step that was given up
      pool.trim()
      const [x, tables] = [embed(tokens), rope.rows(positions)]
      const all = spans.map(withTable)
      open = cut(tokens.length, microBatches).map(({ first, size }, i) => {
        const end = first + size
        const rows = {
          x: x.subarray(first * hidden, end * hidden),
          runs: deviceRuns(
            sliceSpans(all, first, end),
            tables.subarray(first * geometry.headDim, end * geometry.headDim),
            geometry,
          ),
        }
        return openBatch(model, rooms[i]!, rows)
      })
      return open
    },
    get heldSlots() {
      return pool.held
    },
    get poolSlots() {
      return pool.capacity
    },
    get numTensors() {
      return pool.numTensors + buffers.numTensors
    },
    dispose: () => {
      closeBatches()
      for (const part of [pool, buffers, head, ...rooms, ...layers]) part.dispose()
    },
  }
}

function* loadDeviceHead(checkpoint: Checkpoint, options: DeviceLoadOptions): Steps<LmHead> {
  const { hidden, vocabSize, normEpsilon: epsilon } = checkpoint.spec
  const { format, weights, provider, leastRows } = options
  const set = yield* weights.open('device-lm-head', function* () {
    yield* checkEmbedding(checkpoint)
    return yield* asOneStep(() => packDeviceLmHead(headWeights(checkpoint), format))
  })
  return createDeviceLmHead(set, { provider, hidden, vocabSize, epsilon, leastRows: leastRows.head })
}

function* loadLayer(checkpoint: Checkpoint, index: number, options: DeviceLoadOptions): Steps<Session> {
  const { hidden, normEpsilon: epsilon, layers } = checkpoint.spec
  const { format, weights, provider } = options
  const layer = layers[index]!
  const attention = grouped(layer.attention, 'device')
  const { numHeads, numKvHeads, headDim, clip, scale, qkNorm } = attention
  const set = yield* weights.open(`device-attention-${index}`, () =>
    asOneStep(() => packDeviceAttention(groupedWeights(checkpoint, layer, attention), format)),
  )
  const shape: DeviceLayerShape = {
    ...{ numHeads, numKvHeads, headDim, hidden, epsilon, clip, scale },
    qkNorm: qkNorm?.over,
    gateWidth: gateWidth(layer.ffn),
    isFirst: index === 0,
    isLast: index === layers.length - 1,
  }
  return createSession(attentionGraph(set, shape), { provider })
}

function withTable({ cache, views, slots }: StepSpan): DeviceSpan {
  if (cache instanceof DeviceCache) return { views, slots, table: cache.table }
  throw new ClusterError('internal', 'KV cache: want one of the engine that computes, got another')
}
