// What each weight matrix of a checkpoint becomes in each format: bytes, bits, block size, and what precision it costs.
//
// Invariants
//   MR1  Matrices that the engine computes as one product share a block size here as there.
//   MR2  A matrix whose integers the file holds has no error beyond the file's.

import type { Checkpoint } from '../model/checkpoint.js'
import { narrowTo, toFloat32 } from '../model/dtypes.js'
import { valuesOf } from '../model/sizes.js'
import type { AttentionSpec, FfnSpec, LinearRef, ModelSpec, WeightFormat } from '../model/spec.js'
import { attentionFormat, integerFormat, perFormat } from '../model/weight-formats.js'
import { linearOf } from '../model/weights.js'
import { stack, type LinearWeights } from './linear-weights.js'
import { BLOCK_SIZE, isQuantisable, levelAt, type QuantisedMatrix } from './quantise.js'
import { quantiseLinear } from './quantised-linear.js'

export interface MatrixInFormat {
  readonly bits: 32 | 16 | 8 | 4
  readonly blockSize: number | null // inputs that share a scale; null: floats
  readonly bytes: number
  readonly relativeError: number // ‖W − Ŵ‖ / ‖W‖
}

export interface MatrixReport {
  readonly name: string
  readonly kind: string // q, k, v, o, expert gate, …
  readonly outputs: number
  readonly inputs: number
  readonly formats: Readonly<Record<WeightFormat, MatrixInFormat>>
}

/** Matrices that are computed as one product. */
export interface ProductRef {
  readonly isExpert: boolean
  readonly matrices: readonly { readonly kind: string; readonly ref: LinearRef }[]
}

/** Every product of a model. */
export function productsOf(spec: ModelSpec): readonly ProductRef[] {
  const layers = spec.layers.flatMap(({ attention, ffn }) => [
    ...attentionProducts(attention),
    ...ffn.experts.flatMap((expert) => ffnProducts(expert, 'expert')),
    ...(ffn.always ? ffnProducts(ffn.always.ffn, ffn.gate === undefined ? 'dense' : 'shared') : []),
  ])
  return [...layers, productOf({ lm_head: spec.lmHead }, false)]
}

const productOf = (matrices: Readonly<Record<string, LinearRef>>, isExpert: boolean): ProductRef => ({
  isExpert,
  matrices: Object.entries(matrices).map(([kind, ref]) => ({ kind, ref })),
})

function attentionProducts(attention: AttentionSpec): readonly ProductRef[] {
  const { q, o } = attention
  if (attention.kind === 'grouped') {
    const { k, v } = attention
    return [productOf({ q: attention.q, k, v }, false), productOf({ o }, false)]
  }
  const { kvDown: kv_down, kvUp: kv_up } = attention // the engine cuts kv_up by heads, and its keys across
  const products = 'down' in q ? [{ q_down: q.down, kv_down }, { q_up: q.up }] : [{ q, kv_down }]
  return [...products, { kv_up }, { o }].map((matrices) => productOf(matrices, false))
}

const ffnProducts = ({ gate, up, down }: FfnSpec, owner: string): readonly ProductRef[] => [
  productOf({ [`${owner} gate`]: gate, [`${owner} up`]: up }, true),
  productOf({ [`${owner} down`]: down }, true),
]

/** Weights of a product. */
export const productValues = ({ matrices }: ProductRef): number =>
  matrices.reduce((sum, { ref }) => sum + valuesOf(ref.weight), 0)

/** Measures a product's matrices in every format: reads them, several times over their values. */
export function reportProduct(checkpoint: Checkpoint, { matrices, isExpert }: ProductRef): readonly MatrixReport[] {
  const parts = matrices.map(({ ref }) => readOnce(linearOf(checkpoint, ref)))
  const layer = stack(parts)
  const known = new Map<WeightFormat, readonly MatrixInFormat[]>() // attention has the same in two formats
  const measured = perFormat((format) => {
    const stored = isExpert ? format : attentionFormat(format)
    const inFormat = known.get(stored) ?? measure(layer, parts, isQuantisable(layer.inputs) ? stored : 'f32')
    known.set(stored, inFormat)
    return inFormat
  })
  return matrices.map(({ kind, ref }, i) => ({
    name: nameOf(ref),
    kind,
    outputs: parts[i]!.outputs,
    inputs: layer.inputs,
    formats: perFormat((format) => measured[format][i]!),
  }))
}

const readOnce = ({ weights, blockRows, inputs, outputs }: LinearWeights): LinearWeights => ({
  weights,
  blocks: blockRows?.(0, outputs),
  inputs,
  outputs,
})

/** The tensor's name, with the item where it holds several matrices. */
export const nameOf = ({ weight: { name, part } }: LinearRef): string =>
  part?.item === undefined ? name : `${name}[${part.item}]`

function measure(
  layer: LinearWeights,
  parts: readonly LinearWeights[],
  format: WeightFormat,
): readonly MatrixInFormat[] {
  const { inputs } = layer
  const integers = integerFormat(format)
  if (integers === undefined) return parts.map(({ weights }) => asFloats(weights, format === 'f16' ? 16 : 32))
  const quantised = quantiseLinear(layer, integers)
  const { bits, blocksPerScale } = quantised
  const scalesPerRow = Math.ceil(inputs / BLOCK_SIZE / blocksPerScale)
  let firstRow = 0
  return parts.map(({ weights, outputs }) => {
    const relativeError = errorOf(weights, quantised, { firstRow, inputs, scalesPerRow })
    firstRow += outputs
    const bytes = outputs * ((inputs * bits) / 8 + scalesPerRow * 2)
    return { bits, blockSize: Math.min(inputs, blocksPerScale * BLOCK_SIZE), bytes, relativeError }
  })
}

/** Where float16 does not hold a value the error is infinite: the format is refused. */
function asFloats(weights: Float32Array, bits: 16 | 32): MatrixInFormat {
  const inFormat = { bits, blockSize: null, bytes: (weights.length * bits) / 8 }
  if (bits === 32) return { ...inFormat, relativeError: 0 }
  const halves = new Uint16Array(weights.length)
  const areWithin = narrowTo(halves, weights)
  const rounded = toFloat32(new Uint8Array(halves.buffer), 'F16', 'weights')
  return { ...inFormat, relativeError: areWithin ? relativeError(weights, (i) => rounded[i]!) : Infinity }
}

interface PartPlace {
  readonly firstRow: number // in the product
  readonly inputs: number
  readonly scalesPerRow: number
}

function errorOf(weights: Float32Array, quantised: QuantisedMatrix, place: PartPlace): number {
  const { firstRow, inputs, scalesPerRow } = place
  const size = quantised.blocksPerScale * BLOCK_SIZE
  return relativeError(weights, (i) => {
    const group = (firstRow + Math.floor(i / inputs)) * scalesPerRow + Math.floor((i % inputs) / size)
    return levelAt(quantised, firstRow * inputs + i) * quantised.scales[group]!
  })
}

/** ‖W − Ŵ‖ / ‖W‖ */
function relativeError(weights: Float32Array, storedAt: (i: number) => number): number {
  let [lost, all] = [0, 0]
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!
    const difference = weight - storedAt(i)
    lost += difference * difference
    all += weight * weight
  }
  return all === 0 ? 0 : Math.sqrt(lost / all)
}
