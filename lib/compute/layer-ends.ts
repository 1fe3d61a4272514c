// What surrounds a layer's attention, whatever its kind: the residual and norm before it, the output projection, the
// residual, the FFN's norm and the gate after it.
//
// A norm of what a sublayer gives, before it is added to the residual, goes through `n`, which nobody reads then.

import type { WeightFormat } from '../model/spec.js'
import type { AttentionBatch } from './attention-batch.js'
import type { Kernels } from './kernels.js'
import type { LinearWeights } from './linear-weights.js'
import { addNorm, type NormRows } from './norm-tasks.js'
import { addProduct, addRounding, placeLinear, roundedBytes, type PlacedLinear } from './placed-linear.js'
import { placeWeight } from './placed-weight.js'
import type { Steps } from './steps.js'
import { packTiles } from './tiles.js'
import { floatWeight, weightOf, type WeightSet } from './weight-store.js'

export interface EndWeights {
  readonly norm: Float32Array // [hidden]
  readonly o: LinearWeights
  readonly postNorm?: Float32Array | undefined // [hidden]: of what attention gives
  readonly ffnNorm: Float32Array // [hidden]
  readonly ffnPostNorm?: Float32Array | undefined // [hidden]: of what the experts give together
  /** Gate rows, then the shared expert's sigmoid gate as one more row; float32 always. */
  readonly gate?: LinearWeights | undefined
}

export interface EndShape {
  readonly hidden: number
  readonly epsilon: number
  readonly expertBlocks: number // of a row that experts read rounded; 0: they read float32
}

/** What the experts of a layer give, as the residual takes it: at `delta`, once `norm` was computed, where there is one. */
export interface ExpertSums {
  readonly norm?: NormRows | undefined
  readonly delta: number
}

/** The weights `norm`, `o`, `post_norm`, `ffn_norm`, `ffn_post_norm` and `gate`. */
export function* packEnds(weights: EndWeights, format: WeightFormat): Steps<WeightSet> {
  const { norm, o, postNorm, ffnNorm, ffnPostNorm, gate } = weights
  const vector = (values: Float32Array) => floatWeight(values, [values.length])
  return {
    norm: vector(norm),
    ...(yield* packTiles('o', o, format)),
    ...(postNorm && { post_norm: vector(postNorm) }),
    ffn_norm: vector(ffnNorm),
    ...(ffnPostNorm && { ffn_post_norm: vector(ffnPostNorm) }),
    ...(gate && (yield* packTiles('gate', gate, 'f32'))),
  }
}

/** Where the output projection finds its rows, and room for what it makes of them. */
export interface AttendedRows {
  readonly attended: number
  readonly rounded: number
  readonly projected: number
}

export interface LayerEnds {
  readonly o: PlacedLinear
  readonly gateStride: number
  /** Writes phases that add what the layer before gave, and norm for the product `reader`. */
  enter(batch: AttentionBatch, sums: ExpertSums | undefined, reader: PlacedLinear, rounded: number): void
  /** Writes the phases behind attention. */
  leave(batch: AttentionBatch, rows: AttendedRows): void
  expertSums(batch: AttentionBatch): ExpertSums
  dispose(): void
}

/** Placed weights, where the set has them. (A closure of the caller's would keep the set, a second copy, for good.) */
export const placeOptional = (kernels: Kernels, set: WeightSet, names: readonly string[]) =>
  names.map((name) => set[name] && placeWeight(kernels, weightOf(set, name)))

export function createLayerEnds(kernels: Kernels, set: WeightSet, shape: EndShape): LayerEnds {
  const [norm, ffnNorm] = [placeWeight(kernels, weightOf(set, 'norm')), placeWeight(kernels, weightOf(set, 'ffn_norm'))]
  const [postNorm, ffnPostNorm] = placeOptional(kernels, set, ['post_norm', 'ffn_post_norm'])
  const o = placeLinear(kernels, set, 'o')
  const gate = set['gate.tiles'] && placeLinear(kernels, set, 'gate')
  const { hidden, epsilon, expertBlocks } = shape
  const experts = { blocks: expertBlocks, rowBytes: roundedBytes(expertBlocks) }
  const width = hidden

  return {
    o,
    gateStride: gate === undefined ? 0 : gate.outputBytes / 4,
    enter: ({ rows, h, n }, sums, reader, rounded) => {
      if (sums?.norm !== undefined) {
        addNorm(kernels, sums.norm)
        kernels.barrier()
      }
      const residual = sums && { delta: sums.delta, h }
      addNorm(kernels, { x: h, residual, rows, width, epsilon, weight: norm.address, n, reader, rounded })
      kernels.barrier()
    },
    leave: (batch, { attended, rounded, projected }) => {
      const { rows, h, n, inOrder } = batch
      if (o.blocks > 0) {
        addRounding(kernels, o, { x: attended, stride: o.inputs * 4, rows, y: rounded })
        kernels.barrier()
      }
      addProduct(kernels, o, { x: o.blocks > 0 ? rounded : attended, rowList: inOrder, rows, y: projected })
      kernels.barrier()
      if (postNorm !== undefined) {
        const weight = postNorm.address
        addNorm(kernels, { x: projected, xStride: o.outputBytes, rows, width, epsilon, weight, n })
        kernels.barrier()
      }
      const residual = postNorm ? { delta: n, h } : { delta: projected, deltaStride: o.outputBytes, h }
      const [weight, reader] = [ffnNorm.address, experts]
      addNorm(kernels, { x: h, residual, rows, width, epsilon, weight, n, reader, rounded: batch.forExperts })
      if (gate === undefined) return
      kernels.barrier()
      addProduct(kernels, gate, { x: n, rowList: inOrder, rows, y: batch.gate })
    },
    expertSums: ({ rows, delta, n }) => {
      if (ffnPostNorm === undefined) return { delta }
      return { norm: { x: delta, rows, width, epsilon, weight: ffnPostNorm.address, n }, delta: n }
    },
    dispose: () => [norm, ffnNorm, postNorm, ffnPostNorm, o, gate].forEach((placed) => placed?.dispose()),
  }
}
