// What a model's parts take in memory, from its configuration alone.
//
// Invariants
//   MS1  Every byte of the weights is in exactly one part: `totalBytes` is what all parts take together.
//   MS2  A shard's bytes are those of the experts that `shardPlan` gives it.

import { isQuantisable } from '../compute/quantise.js'
import { attentionVectors, cachedValues, keptLinears } from './attention-parts.js'
import { shardPlan } from './expert-shards.js'
import { kvNumberBytes, type KvFormat } from './kv-formats.js'
import type { FfnLayerSpec, FfnSpec, LayerSpec, LinearRef, ModelSpec, TensorRef, WeightFormat } from './spec.js'
import { attentionFormat } from './weight-formats.js'

export interface ModelSizes {
  readonly embedding: number // float32; attention workers read its rows from the checkpoint's file
  readonly attention: number // attention, norms and gates of all layers
  readonly head: number // final norm and LM head
  readonly shards: readonly number[] // experts, by shard
  readonly kvPerToken: number // keys and values of all layers
}

/** With a scale of two bytes per block of 32: the most that adaptive blocks take. */
const BYTES_PER_WEIGHT: Readonly<Record<WeightFormat, number>> = {
  f32: 4,
  f16: 2,
  int8: 1 + 2 / 32,
  int4: 0.5 + 2 / 32,
  'int8-auto': 1 + 2 / 32,
  'int4-auto': 0.5 + 2 / 32,
}

export const valuesOf = ({ shape }: TensorRef): number => shape.reduce((product, axis) => product * axis, 1)
const valuesIn = (refs: readonly (TensorRef | undefined)[]): number =>
  refs.reduce((sum, ref) => sum + (ref === undefined ? 0 : valuesOf(ref)), 0)

/** Values of matrices and biases. */
export const linearValues = (linears: readonly LinearRef[]): number =>
  linears.reduce((sum, { weight, bias }) => sum + valuesIn([weight, bias]), 0)

/** Matrices in the format where their rows can be cut into blocks, biases in float32. */
export const linearBytes = (linears: readonly LinearRef[], format: WeightFormat): number =>
  linears.reduce((sum, { weight, bias }) => {
    const stored = isQuantisable(weight.shape[1] ?? 0) ? format : 'f32'
    return sum + valuesOf(weight) * BYTES_PER_WEIGHT[stored] + valuesIn([bias]) * 4
  }, 0)

export const ffnLinears = ({ gate, up, down }: FfnSpec): readonly LinearRef[] => [gate, up, down]

/** Bytes of a layer's attention with its norms and gate. */
export function attentionBytes(layer: LayerSpec, format: WeightFormat): number {
  const { attention, attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ffn } = layer
  const norms = [attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ...attentionVectors(attention)]
  const floats = valuesIn([...norms, ffn.gate?.correction]) + gateValues(ffn)
  return linearBytes(keptLinears(attention), attentionFormat(format)) + floats * 4
}

/** Outputs that a product computes together: the last of them are filled up. */
const TILE = 16
const wholeTiles = (outputs: number): number => Math.ceil(outputs / TILE) * TILE

/** The gate's rows, with them the shared expert's, and its bias. */
function gateValues({ gate, always }: FfnLayerSpec): number {
  const [, hidden = 0] = (gate?.weight ?? always?.sigmoidGate)?.shape ?? []
  const rows = wholeTiles((gate?.weight.shape[0] ?? 0) + (always?.sigmoidGate === undefined ? 0 : 1))
  return rows * (hidden + (gate?.bias === undefined ? 0 : 1))
}

/** The LM head with its last tile filled up. */
function headBytes({ lmHead }: ModelSpec, format: WeightFormat): number {
  const [outputs = 1] = lmHead.weight.shape
  return (linearBytes([lmHead], attentionFormat(format)) / outputs) * wholeTiles(outputs)
}

export function modelSizes(spec: ModelSpec, format: WeightFormat, kv: KvFormat = 'f32'): ModelSizes {
  return {
    embedding: valuesOf(spec.embedding) * 4,
    attention: spec.layers.reduce((sum, layer) => sum + attentionBytes(layer, format), 0),
    head: headBytes(spec, format) + valuesOf(spec.finalNorm) * 4,
    shards: shardBytes(spec, format),
    kvPerToken: spec.layers.reduce((sum, { attention }) => sum + cachedValues(attention) * kvNumberBytes(kv), 0),
  }
}

export const totalBytes = ({ embedding, attention, head, shards }: ModelSizes): number =>
  Math.round(embedding + attention + head + shards.reduce((sum, bytes) => sum + bytes, 0))

function shardBytes(spec: ModelSpec, format: WeightFormat): number[] {
  const plan = shardPlan(spec)
  const bytes = Array.from({ length: plan.numShards }, () => 0)
  for (const [layer, { ffn }] of spec.layers.entries()) {
    const experts = [...ffn.experts, ...(ffn.always ? [ffn.always.ffn] : [])]
    for (const [expert, each] of experts.entries()) {
      const shard = plan.shardOf(layer, expert)
      bytes[shard] = (bytes[shard] ?? 0) + linearBytes(ffnLinears(each), format)
    }
  }
  return bytes
}
