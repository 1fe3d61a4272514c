// One layer of grouped-query attention for the rows of a step, in one run: residual, norm, q/k/v, q/k norm and rotation
// into the cache, attention, output projection, residual, the FFN's norm, the gate's logits.

import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import { kvNumberBytes, type KvFormat } from '../model/kv-formats.js'
import { attentionFormat } from '../model/weight-formats.js'
import { addAttention, widthWords, type AttendShape } from './attend-tasks.js'
import { cutWork, workBytes, type AttentionBatch, type LayerNeeds } from './attention-batch.js'
import { floatBits, OP, type Kernels } from './kernels.js'
import {
  createLayerEnds,
  packEnds,
  placeOptional,
  type EndShape,
  type EndWeights,
  type ExpertSums,
} from './layer-ends.js'
import { stack, type LinearWeights } from './linear-weights.js'
import { addProduct, placeLinear, roundedBytes } from './placed-linear.js'
import { placeWords } from './placed-weight.js'
import { pieceOf } from './room.js'
import type { Steps } from './steps.js'
import { packTiles } from './tiles.js'
import { floatWeight, type WeightSet } from './weight-store.js'

export interface HeadGeometry {
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number // even
}

export interface AttentionWeights extends EndWeights {
  readonly q: LinearWeights
  readonly k: LinearWeights
  readonly v: LinearWeights
  readonly qkNorm?: { readonly q: Float32Array; readonly k: Float32Array } | undefined
  readonly sinks?: Float32Array | undefined // [numHeads]
}

/** How a layer turns scores into weights, which rows it looks at and how it keeps them, whatever its kind. */
export interface ScoreShape {
  readonly kv: KvFormat
  readonly scale?: number | undefined // of the scores; 1 / √(width of a query), unless given
  readonly window?: number | undefined // positions that a row sees; all, unless given
  /** Place of its rotary tables in the batch. */
  readonly rotation: number
  /** Bytes from a page's address to this layer's part. */
  readonly pageOffset: number
}

export interface AttentionShape extends HeadGeometry, EndShape, ScoreShape {
  readonly qkNorm?: 'head' | 'projection' | undefined
  readonly clip?: number | undefined
  readonly rotatedDim?: number | undefined // of a head, its first ones; all, unless given
}

/** The weights `qkv`, `q_norm`, `k_norm`, `sinks`, and those of the ends. */
export function* packAttention(weights: AttentionWeights, expertFormat: WeightFormat): Steps<WeightSet> {
  const format = attentionFormat(expertFormat)
  const { q, k, v, qkNorm, sinks } = weights
  return {
    ...(yield* packEnds(weights, format)),
    ...(yield* packTiles('qkv', stack([q, k, v]), format)),
    ...(qkNorm && {
      q_norm: floatWeight(qkNorm.q, [qkNorm.q.length]),
      k_norm: floatWeight(qkNorm.k, [qkNorm.k.length]),
    }),
    ...(sinks && { sinks: floatWeight(sinks, [sinks.length]) }),
  }
}

export interface AttentionLayer {
  readonly needs: LayerNeeds
  /**
   * Reads h and what the experts of the layer before gave; leaves h with both residuals, n (normed) and the gate's
   * logits; writes keys and values.
   */
  run(batch: AttentionBatch, sums?: ExpertSums): void
  /** What this layer's experts gave, for the next layer or the last hidden state. */
  expertSums(batch: AttentionBatch): ExpertSums
  dispose(): void
}

const NORMED = { none: 0, head: 1, projection: 2 } as const

/** A layer packed by `packAttention`, in the engine's memory. */
export function createAttentionLayer(kernels: Kernels, set: WeightSet, shape: AttentionShape): AttentionLayer {
  const { numHeads, numKvHeads, headDim, rotatedDim = headDim, window = Infinity, pageOffset, kv: format } = shape
  if (headDim % 2 !== 0 || rotatedDim % 2 !== 0 || rotatedDim > headDim) {
    const wanted = 'want an even width, and an even number of rotated dimensions up to it'
    throw new ClusterError('internal', `heads: ${wanted}, got ${headDim} and ${rotatedDim}`)
  }
  const ends = createLayerEnds(kernels, set, shape)
  const qkv = placeLinear(kernels, set, 'qkv')
  const [qNorm, kNorm, sinks] = placeOptional(kernels, set, ['q_norm', 'k_norm', 'sinks'])
  const heads = placeWords(kernels, [
    ...[numHeads, numKvHeads, headDim, rotatedDim],
    NORMED[shape.qkNorm ?? 'none'],
    qNorm?.address ?? 0,
    kNorm?.address ?? 0,
    floatBits(shape.epsilon),
    floatBits(shape.clip ?? Infinity),
    floatBits(shape.scale ?? scaleOf(headDim)),
    pageOffset,
    Math.log2(kvNumberBytes(format)),
  ])
  const kv = { numKvHeads, headDim, valueDim: headDim }
  const widths = placeWords(kernels, widthWords(kv, headDim * 4))
  const group = numHeads / numKvHeads
  const attention: AttendShape = {
    ...{
      ...kv,
      queryBytes: headDim * 4,
      widths: widths.address,
      sinks: sinks?.address ?? 0,
      window,
      pageOffset,
      format,
    },
    groups: Array.from({ length: numKvHeads }, (_, kvHead) => {
      return { kvHead, firstHead: kvHead * group, numHeads: group }
    }),
  }
  const attendedBytes = numHeads * headDim * 4
  const roundedRow = roundedBytes(Math.max(qkv.blocks, ends.o.blocks))
  const rowBytes = [qkv.outputBytes, attendedBytes, roundedRow, ends.o.outputBytes]

  const addRotation = (batch: AttentionBatch, x: number): void => {
    const most = pieceOf(batch.rows, kernels.threads)
    for (let first = 0; first < batch.rows; first += most) {
      kernels.task(
        OP.rotate,
        heads.address,
        x + first * qkv.outputBytes,
        qkv.outputBytes,
        Math.min(most, batch.rows - first),
        batch.tables[shape.rotation]! + first * rotatedDim * 4,
        batch.places + first * 8,
      )
    }
  }

  return {
    needs: { workBytes: workBytes(rowBytes), gateStride: ends.gateStride, group, window },
    run: (batch, sums) => {
      const { rows, n, inOrder } = batch
      const [x = 0, attended = 0, rounded = 0, projected = 0] = cutWork(batch, rowBytes)
      kernels.run(() => {
        ends.enter(batch, sums, qkv, rounded)
        addProduct(kernels, qkv, { x: qkv.blocks > 0 ? rounded : n, rowList: inOrder, rows, y: x })
        kernels.barrier()
        addRotation(batch, x)
        kernels.barrier()
        addAttention(kernels, batch, attention, { q: x, qStride: qkv.outputBytes, y: attended, yStride: attendedBytes })
        kernels.barrier()
        ends.leave(batch, { attended, rounded, projected })
      })
    },
    expertSums: (batch) => ends.expertSums(batch),
    dispose: () => [ends, qkv, qNorm, kNorm, sinks, heads, widths].forEach((placed) => placed?.dispose()),
  }
}

/** 1 / √width, each step rounded to float32. */
export const scaleOf = (width: number): number => Math.fround(1 / Math.fround(Math.sqrt(width)))
