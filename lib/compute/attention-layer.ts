// One layer's attention for the rows of a step, in one run: residual, norm, q/k/v, q/k norm and rotation into the cache,
// attention, output projection, residual, the FFN's norm, the gate's logits.

import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import type { AttentionBatch } from './attention-batch.js'
import { floatBits, OP, type Kernels, type Phase, type Task } from './kernels.js'
import { stack, type LinearWeights } from './linear-weights.js'
import { normTasks } from './norm-tasks.js'
import { linearTasks, placeLinear, roundedBytes, roundingTasks } from './placed-linear.js'
import { placeWeight } from './placed-weight.js'
import { cut } from './room.js'
import { packTiles } from './tiles.js'
import { floatWeight, weightOf, type WeightSet } from './weight-store.js'

/** Slots of a page of the KV cache. */
export const PAGE_SLOTS = 128

export interface HeadGeometry {
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number // even
}

/** Bytes of one layer of a page: keys [kvHeads, slots / 8, headDim, 8], then values [kvHeads, slots, headDim], float32. */
export const layerBytes = ({ numKvHeads, headDim }: HeadGeometry): number => 2 * numKvHeads * headDim * PAGE_SLOTS * 4

export interface AttentionWeights {
  readonly norm: Float32Array // [hidden]
  readonly q: LinearWeights
  readonly k: LinearWeights
  readonly v: LinearWeights
  readonly qkNorm?: { readonly q: Float32Array; readonly k: Float32Array } | undefined
  readonly o: LinearWeights
  readonly ffnNorm: Float32Array // [hidden]
  /** Gate rows, then the shared expert's sigmoid gate as one more row; float32 always. */
  readonly gate?: LinearWeights | undefined
}

export interface AttentionShape extends HeadGeometry {
  readonly hidden: number
  readonly epsilon: number
  readonly qkNorm?: 'head' | 'projection' | undefined
  readonly clip?: number | undefined
  readonly expertBlocks: number // of a row that experts read rounded; 0: they read float32
  /** Bytes from a page's address to this layer's part. */
  readonly pageOffset: number
}

/** The weights `norm`, `qkv`, `q_norm`, `k_norm`, `o`, `ffn_norm` and `gate`. */
export function packAttention(weights: AttentionWeights, format: WeightFormat): WeightSet {
  const { norm, q, k, v, qkNorm, o, ffnNorm, gate } = weights
  return {
    norm: floatWeight(norm, [norm.length]),
    ...packTiles('qkv', stack([q, k, v]), format),
    ...(qkNorm && {
      q_norm: floatWeight(qkNorm.q, [qkNorm.q.length]),
      k_norm: floatWeight(qkNorm.k, [qkNorm.k.length]),
    }),
    ...packTiles('o', o, format),
    ffn_norm: floatWeight(ffnNorm, [ffnNorm.length]),
    ...(gate && packTiles('gate', gate, 'f32')),
  }
}

export interface AttentionLayer {
  /** Reads h and delta, leaves h with both residuals, n (normed) and the gate's logits; writes keys and values. */
  run(batch: AttentionBatch, hasDelta: boolean): void
  /** Floats of a row of gate logits; 0: there is no gate. */
  readonly gateStride: number
  dispose(): void
}

const PIECES_PER_THREAD = 4
const NORMED = { none: 0, head: 1, projection: 2 } as const

/** A layer packed by `packAttention`, in the engine's memory. */
export function createAttentionLayer(kernels: Kernels, set: WeightSet, shape: AttentionShape): AttentionLayer {
  const [norm, ffnNorm] = [placeWeight(kernels, weightOf(set, 'norm')), placeWeight(kernels, weightOf(set, 'ffn_norm'))]
  const [qkv, o] = [placeLinear(kernels, set, 'qkv'), placeLinear(kernels, set, 'o')]
  const gate = set['gate.tiles'] && placeLinear(kernels, set, 'gate')
  const [qNorm, kNorm] = ['q_norm', 'k_norm'].map((name) => set[name] && placeWeight(kernels, weightOf(set, name)))
  const { threads } = kernels
  const pieces = threads * PIECES_PER_THREAD
  const { hidden, epsilon, expertBlocks } = shape
  if (shape.headDim % 2 !== 0) throw new ClusterError('internal', `head width: want an even one, got ${shape.headDim}`)
  const experts = { blocks: expertBlocks, rowBytes: roundedBytes(expertBlocks) }
  const width = { width: hidden, epsilon }

  const rotation = (batch: AttentionBatch): Phase =>
    cut(batch.rows, threads).map(({ first, size }) => [
      OP.rotate,
      batch.qkv + first * qkv.outputBytes,
      qkv.outputBytes,
      size,
      batch.tables + first * shape.headDim * 4,
      batch.places + first * 8,
      shape.numHeads,
      shape.numKvHeads,
      shape.headDim,
      NORMED[shape.qkNorm ?? 'none'],
      qNorm?.address ?? 0,
      kNorm?.address ?? 0,
      floatBits(epsilon),
      floatBits(shape.clip ?? Infinity),
      shape.pageOffset,
    ])

  return {
    gateStride: gate === undefined ? 0 : gate.outputBytes / 4,
    run: (batch, hasDelta) => {
      const { rows, h, delta, n, rounded, inOrder } = batch
      kernels.reserveThreadScratch(scratchBytes(batch, shape))
      const residual = { delta, h }
      kernels.run([
        normTasks(
          {
            x: h,
            residual: hasDelta ? residual : undefined,
            rows,
            ...width,
            weight: norm.address,
            n,
            reader: qkv,
            rounded,
          },
          threads,
        ),
        linearTasks(qkv, { x: qkv.blocks > 0 ? rounded : n, rowList: inOrder, rows, y: batch.qkv }, pieces),
        rotation(batch),
        attentionTasks(batch, shape, qkv.outputBytes),
        o.blocks === 0 ? [] : roundingTasks(o, { x: batch.attended, stride: o.inputs * 4, rows, y: rounded }, threads),
        linearTasks(
          o,
          { x: o.blocks > 0 ? rounded : batch.attended, rowList: inOrder, rows, y: batch.projected },
          pieces,
        ),
        normTasks(
          {
            x: h,
            residual: { delta: batch.projected, deltaStride: o.outputBytes, h },
            rows,
            ...width,
            weight: ffnNorm.address,
            n,
            reader: experts,
            rounded: batch.forExperts,
          },
          threads,
        ),
        gate === undefined ? [] : linearTasks(gate, { x: n, rowList: inOrder, rows, y: batch.gate }, pieces),
      ])
    },
    dispose: () => [norm, ffnNorm, qkv, o, gate, qNorm, kNorm].forEach((placed) => placed?.dispose()),
  }
}

/** What a thread needs for a span and KV head: of each query its scores, its sums of values and an address. */
function scratchBytes({ spans }: AttentionBatch, { numHeads, numKvHeads, headDim }: AttentionShape): number {
  const queries = numHeads / numKvHeads
  const sumBytes = Math.ceil(headDim / 16) * 64
  return spans.reduce((most, { rows, numSlots }) => Math.max(most, rows * queries * (numSlots * 4 + sumBytes + 8)), 0)
}

/** Attention of every span and KV head. */
function attentionTasks(batch: AttentionBatch, shape: AttentionShape, qStride: number): Phase {
  const { numHeads, numKvHeads, headDim, pageOffset } = shape
  const group = numHeads / numKvHeads
  const headBytes = headDim * PAGE_SLOTS * 4
  const tasks: Task[] = []
  for (const span of batch.spans) {
    for (let head = 0; head < numKvHeads; head++) {
      const query = head * group * headDim * 4
      tasks.push([
        OP.attend,
        batch.qkv + span.firstRow * qStride + query,
        qStride,
        span.rows,
        group,
        headDim,
        pageOffset + head * headBytes,
        pageOffset + (numKvHeads + head) * headBytes,
        span.pages,
        span.numSlots,
        batch.views + span.firstRow * 12,
        batch.list,
        batch.attended + span.firstRow * numHeads * headDim * 4 + query,
        numHeads * headDim * 4,
      ])
    }
  }
  return tasks
}
