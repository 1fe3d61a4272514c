// What a checkpoint is and what it would take, for `banyan inspect`. A configuration alone says all but what its weights
// are like.

import { firstAttention, headsOf, queryWidth } from './attention-parts.js'
import { wantedTensors, type Checkpoint, type DeclaredModel } from './checkpoint.js'
import { shardPlan } from './expert-shards.js'
import { ffnLinears, linearValues, modelSizes, totalBytes } from './sizes.js'
import type { ModelSpec, WeightFormat } from './spec.js'
import { sizeOf } from './stored-tensor.js'
import { storedShape } from './tensor-view.js'
import { perFormat } from './weight-formats.js'

export interface CheckpointReport {
  readonly family: string
  readonly hasWeights: boolean // false: only a configuration, the rest is what it asks for
  readonly fingerprint: string | null // null without weights
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

export function inspectCheckpoint(checkpoint: Checkpoint): CheckpointReport {
  const dtypes: Record<string, number> = {}
  for (const { dtype } of checkpoint.tensors.values()) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1
  return {
    ...inspectSpec(checkpoint.spec),
    hasWeights: true,
    fingerprint: checkpoint.fingerprint,
    dtypes,
    missing: checkpoint.missing,
    unexpected: checkpoint.unexpected,
    hasTokenizer: checkpoint.tokenizer !== undefined,
    hasChatTemplate: checkpoint.chatTemplate !== undefined,
  }
}

/** What a configuration without weights says. */
export const inspectDeclared = ({ spec }: DeclaredModel): CheckpointReport => ({
  ...inspectSpec(spec),
  hasWeights: false,
  fingerprint: null,
  dtypes: {},
  missing: [],
  unexpected: [],
  hasTokenizer: false,
  hasChatTemplate: false,
})

function inspectSpec(spec: ModelSpec) {
  const attention = firstAttention(spec)
  const moe = spec.layers.find(({ ffn }) => ffn.gate !== undefined)?.ffn
  const parameters = [...wantedTensors(spec).values()].reduce((sum, ref) => sum + sizeOf(storedShape(ref)), 0)
  return {
    family: spec.family,
    parameters,
    activeParameters: parameters - idleParameters(spec),
    layers: spec.layers.length,
    hidden: spec.hidden,
    vocabSize: spec.vocabSize,
    maxPositions: spec.maxPositions,
    heads: attention.numHeads,
    kvHeads: headsOf(attention).numKvHeads,
    headDim: queryWidth(attention),
    experts: moe?.experts.length ?? 0,
    expertsPerToken: moe?.gate?.topK ?? 0,
    shards: shardPlan(spec).numShards,
    weightBytes: perFormat((format) => totalBytes(modelSizes(spec, format))),
    kvBytesPerToken: modelSizes(spec, 'f32').kvPerToken,
  }
}

/** Parameters of routed experts that a token does not use. */
function idleParameters({ layers }: ModelSpec): number {
  return layers.reduce((sum, { ffn }) => {
    const all = linearValues(ffn.experts.flatMap(ffnLinears))
    return sum + all * (1 - (ffn.gate?.topK ?? 0) / Math.max(1, ffn.experts.length))
  }, 0)
}
