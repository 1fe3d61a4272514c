// What a checkpoint is and what it would take, for `banyan inspect`.

import { isQuantisable } from '../compute/quantise.js'
import { wantedTensors, type Checkpoint } from './checkpoint.js'
import { shardPlan } from './expert-shards.js'
import type { FfnSpec, LinearRef, ModelSpec, WeightFormat } from './spec.js'

export interface CheckpointReport {
  readonly family: string
  readonly fingerprint: string
  readonly parameters: number
  readonly activeParameters: number // per token
  readonly layers: number
  readonly hidden: number
  readonly vocabSize: number
  readonly maxPositions: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly experts: number
  readonly expertsPerToken: number
  readonly shards: number
  readonly dtypes: Readonly<Record<string, number>> // dtype → tensors
  readonly missing: readonly string[]
  readonly unexpected: readonly string[]
  readonly weightBytes: Readonly<Record<WeightFormat, number>>
  readonly kvBytesPerToken: number
  readonly hasTokenizer: boolean
  readonly hasChatTemplate: boolean
}

const size = (shape: readonly number[]): number => shape.reduce((product, axis) => product * axis, 1)
const linearSize = ({ weight, bias }: LinearRef): number => size(weight.shape) + (bias ? size(bias.shape) : 0)
const ffnSize = ({ gate, up, down }: FfnSpec): number => linearSize(gate) + linearSize(up) + linearSize(down)

export function inspectCheckpoint(checkpoint: Checkpoint): CheckpointReport {
  const { spec } = checkpoint
  const { numHeads = 0, numKvHeads = 0, headDim = 0 } = spec.layers[0]?.attention ?? {}
  const wanted = [...wantedTensors(spec).values()]
  const moe = spec.layers.find(({ ffn }) => ffn.gate !== undefined)?.ffn
  const parameters = wanted.reduce((sum, { shape }) => sum + size(shape), 0)
  const dtypes: Record<string, number> = {}
  for (const { dtype } of checkpoint.tensors.values()) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1
  return {
    family: spec.family,
    fingerprint: checkpoint.fingerprint,
    parameters,
    activeParameters: parameters - idleParameters(spec),
    layers: spec.layers.length,
    hidden: spec.hidden,
    vocabSize: spec.vocabSize,
    maxPositions: spec.maxPositions,
    heads: numHeads,
    kvHeads: numKvHeads,
    headDim,
    experts: moe?.experts.length ?? 0,
    expertsPerToken: moe?.gate?.topK ?? 0,
    shards: shardPlan(spec).numShards,
    dtypes,
    missing: checkpoint.missing,
    unexpected: checkpoint.unexpected,
    weightBytes: { f32: weightBytes(spec, 'f32'), int8: weightBytes(spec, 'int8'), int4: weightBytes(spec, 'int4') },
    kvBytesPerToken: spec.layers.length * numKvHeads * (2 * headDim + 1) * 4,
    hasTokenizer: checkpoint.tokenizer !== undefined,
    hasChatTemplate: checkpoint.chatTemplate !== undefined,
  }
}

/** Parameters of routed experts that a token does not use. */
function idleParameters({ layers }: ModelSpec): number {
  return layers.reduce((sum, { ffn }) => {
    const all = ffn.experts.reduce((total, expert) => total + ffnSize(expert), 0)
    return sum + all * (1 - (ffn.gate?.topK ?? 0) / Math.max(1, ffn.experts.length))
  }, 0)
}

/** Matrices in the format (block scales included), everything else in float32. */
function weightBytes(spec: ModelSpec, format: WeightFormat): number {
  const perWeight = { f32: 4, int8: 1 + 2 / 32, int4: 0.5 + 2 / 32 }[format]
  const matrices = spec.layers.flatMap(({ attention, ffn }) => [
    ...[attention.q, attention.k, attention.v, attention.o],
    ...[...ffn.experts, ...(ffn.always ? [ffn.always.ffn] : [])].flatMap(({ gate, up, down }) => [gate, up, down]),
  ])
  const blocked = new Set([...matrices, spec.lmHead].filter(({ weight }) => isQuantisable(weight.shape[1] ?? 0)))
  const inBlocks = [...blocked].reduce((sum, { weight }) => sum + size(weight.shape) * perWeight, 0)
  const names = new Set([...blocked].map(({ weight }) => weight.name))
  const rest = [...wantedTensors(spec).values()].filter(({ name }) => !names.has(name) || name === spec.embedding.name)
  return Math.round(inBlocks + rest.reduce((sum, { shape }) => sum + size(shape) * 4, 0))
}
