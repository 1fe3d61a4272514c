// Rotary parameters of a configuration, as the reference implementation reads them: `rope_parameters` (newer, in Gemma-3
// one set for each type of layer) or `rope_scaling` (older, with `rope_theta` beside it).
//
// Invariants
//   RC1  A type that is not computed is refused; so is a key that would change what a known type computes.

import { ClusterError } from '../errors.js'
import { configFields, type ConfigFields } from './config-fields.js'
import type { RopeScaling, RopeSpec } from './spec.js'

/** Rotation of heads of `headDim` values, the same in every layer. */
export function ropeOf(fields: ConfigFields, headDim: number): RopeSpec {
  const rope = ropeFields(fields)
  if (isByLayerType(rope)) return fields.refuse('rope_parameters', 'one set of parameters for all layers')
  return ropeSpec(fields, rope, { headDim, theta: positive(fields, 'rope_theta', 10_000) })
}

export interface LayerTypeRopes {
  readonly full_attention: RopeSpec
  readonly sliding_attention: RopeSpec
}

/** A rotation for each type of layer; the older form scales that of full attention alone. */
export function ropesByLayerType(fields: ConfigFields, headDim: number): LayerTypeRopes {
  const rope = ropeFields(fields)
  const isNested = isByLayerType(rope)
  const full = isNested ? rope.section('full_attention') : rope
  const sliding = isNested ? rope.section('sliding_attention') : configFields({}, fields.path)
  return {
    full_attention: ropeSpec(fields, full, { headDim, theta: positive(fields, 'rope_theta', 1e6) }),
    sliding_attention: ropeSpec(fields, sliding, { headDim, theta: positive(fields, 'rope_local_base_freq', 1e4) }),
  }
}

/** Positions that a model serves: with dynamic scaling, which acts beyond the trained ones, `factor` times as many. */
export function maxPositionsOf(fields: ConfigFields): number {
  const trained = fields.size('max_position_embeddings')
  const rope = ropeFields(fields)
  return typeOf(rope) === 'dynamic' ? Math.floor(trained * positive(rope, 'factor')) : trained
}

const ropeFields = (fields: ConfigFields): ConfigFields =>
  fields.section(fields.has('rope_scaling') ? 'rope_scaling' : 'rope_parameters')

const isByLayerType = (rope: ConfigFields): boolean => rope.has('full_attention') || rope.has('sliding_attention')

interface RopeDefaults {
  readonly headDim: number
  readonly theta: number
}

function ropeSpec(fields: ConfigFields, rope: ConfigFields, { headDim, theta }: RopeDefaults): RopeSpec {
  const dims = rotatedDims(rope.has('partial_rotary_factor') ? rope : fields, headDim)
  return {
    theta: positive(rope, 'rope_theta', theta),
    ...(dims === headDim ? {} : { dims }),
    scaling: scalingOf(fields, rope),
  }
}

/** DeepSeek's factor of the scores: YaRN's `mscale_all_dim`, squared. */
export function scoreFactor(fields: ConfigFields): number {
  const rope = ropeFields(fields)
  if (typeOf(rope) === 'default' || !rope.has('mscale_all_dim')) return 1
  return attentionScale(positive(rope, 'factor'), rope.number('mscale_all_dim')) ** 2
}

const typeOf = (rope: ConfigFields): unknown => rope.raw('rope_type') ?? rope.raw('type') ?? 'default'

function scalingOf(fields: ConfigFields, rope: ConfigFields): RopeScaling {
  const type = typeOf(rope)
  if (rope.has('mrope_section')) rope.refuse('mrope_section', 'none: positions have one axis here')
  switch (type) {
    case 'default':
      return { type }
    case 'linear':
      return { type, factor: positive(rope, 'factor') }
    case 'dynamic':
      return { type, factor: positive(rope, 'factor'), originalMaxPosition: fields.size('max_position_embeddings') }
    case 'yarn':
      return yarn(rope, originalMaxPosition(fields, rope), fields.size('max_position_embeddings'))
    case 'llama3':
      return {
        type,
        factor: positive(rope, 'factor'),
        lowFreqFactor: positive(rope, 'low_freq_factor'),
        highFreqFactor: positive(rope, 'high_freq_factor'),
        originalMaxPosition: originalMaxPosition(fields, rope),
      }
    default:
      throw new ClusterError(
        'unimplemented',
        `${fields.path}: rope type ${JSON.stringify(type)}; this version knows default, linear, dynamic, yarn and llama3`,
      )
  }
}

/** The configuration's own key comes before the one among the rotary parameters. */
function originalMaxPosition(fields: ConfigFields, rope: ConfigFields): number {
  const key = 'original_max_position_embeddings'
  return fields.has(key) ? fields.size(key) : rope.size(key, fields.size('max_position_embeddings'))
}

function yarn(rope: ConfigFields, original: number, maxPositions: number): RopeScaling {
  const factor = positive(rope, 'factor', maxPositions / original)
  return {
    type: 'yarn',
    factor,
    originalMaxPosition: original,
    betaFast: rope.number('beta_fast', 32) || 32,
    betaSlow: rope.number('beta_slow', 1) || 1,
    isTruncated: rope.flag('truncate', true),
    attentionFactor: rope.has('attention_factor')
      ? positive(rope, 'attention_factor')
      : inferredAttentionFactor(rope, factor),
  }
}

function inferredAttentionFactor(rope: ConfigFields, factor: number): number {
  const mscale = rope.number('mscale', 0)
  const overAll = rope.number('mscale_all_dim', 0)
  return mscale !== 0 && overAll !== 0
    ? attentionScale(factor, mscale) / attentionScale(factor, overAll)
    : attentionScale(factor, 1)
}

/** How YaRN widens scores for contexts `factor` times as long. */
const attentionScale = (factor: number, mscale: number): number =>
  factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1

/** The first dimensions of a head, by `partial_rotary_factor`. */
function rotatedDims(fields: ConfigFields, headDim: number): number {
  const share = positive(fields, 'partial_rotary_factor', 1)
  const dims = Math.trunc(headDim * share)
  if (share > 1 || dims < 2 || dims % 2 !== 0)
    fields.refuse('partial_rotary_factor', `an even number of the ${headDim} dimensions of a head`)
  return dims
}

function positive(fields: ConfigFields, key: string, fallback?: number): number {
  const value = fields.number(key, fallback)
  return value > 0 ? value : fields.refuse(key, 'a positive number')
}
