// Rotary parameters of a configuration, as the reference implementation reads them: `rope_parameters` (newer, in Gemma-3
// one set for each type of layer) or `rope_scaling` (older, with `rope_theta` beside it).
//
// Invariants
//   RC1  A type that is not computed is refused; so is a key that would change what a known type computes.
//   RC2  A key that the reference implementation does not look at is not looked at: `partial_rotary_factor` where a family
//        rotates whole heads by the default type (with others it fails, which is refused here), `truncate` beside the
//        set of one type of layer.

import { ClusterError } from '../errors.js'
import type { ConfigFields } from './config-fields.js'
import { shown } from './shown.js'
import type { RopeScaling, RopeSpec } from './spec.js'

/** Rotation of heads of `headDim` values, the same in every layer; `rotatesPart` of them in some families. */
export function ropeOf(fields: ConfigFields, headDim: number, rotatesPart = false): RopeSpec {
  const rope = ropeFields(fields)
  if (isByLayerType(rope)) return fields.refuse('rope_parameters', 'one set of parameters for all layers')
  return ropeSpec(fields, rope, {
    headDim,
    rotatesPart,
    thetaKey: 'rope_theta',
    isTruncated: isTruncated(rope),
    originalMaxPosition: originalMaxPosition(fields, rope),
  })
}

export interface LayerTypeRopes {
  readonly full_attention: RopeSpec
  readonly sliding_attention: RopeSpec
}

/** A rotation for each type of layer; the older form scales that of full attention alone. */
export function ropesByLayerType(fields: ConfigFields, headDim: number): LayerTypeRopes {
  const all = fields.section('rope_parameters')
  const isOlder = fields.has('rope_scaling')
  if (isOlder && isByLayerType(all)) fields.refuse('rope_scaling', 'none beside rope_parameters')
  const spec = (rope: ConfigFields, thetaKey: string): RopeSpec =>
    ropeSpec(fields, rope, {
      headDim,
      rotatesPart: false,
      thetaKey,
      isTruncated: isTruncated(all),
      originalMaxPosition: rope.size(ORIGINAL, fields.size('max_position_embeddings')),
    })
  return {
    full_attention: spec(isOlder ? fields.section('rope_scaling') : all.section('full_attention'), 'rope_theta'),
    sliding_attention: spec(all.section('sliding_attention'), 'rope_local_base_freq'),
  }
}

/** Positions that a model serves: with dynamic scaling, which acts beyond the trained ones, `factor` times as many. */
export function maxPositionsOf(fields: ConfigFields): number {
  const trained = fields.size('max_position_embeddings')
  const rope = ropeFields(fields)
  return typeOf(rope) === 'dynamic' ? Math.floor(trained * positive(rope, 'factor')) : trained
}

/** An empty older form is none. */
function ropeFields(fields: ConfigFields): ConfigFields {
  const older = fields.section('rope_scaling')
  return older.isEmpty ? fields.section('rope_parameters') : older
}

const isByLayerType = (rope: ConfigFields): boolean => rope.has('full_attention') || rope.has('sliding_attention')

/** What is said beside a set of parameters. */
interface RopeSurroundings {
  readonly headDim: number
  readonly rotatesPart: boolean
  readonly thetaKey: string // of the configuration, where the set has none
  readonly isTruncated: boolean
  readonly originalMaxPosition: number
}

function ropeSpec(fields: ConfigFields, rope: ConfigFields, around: RopeSurroundings): RopeSpec {
  const { headDim, rotatesPart, thetaKey } = around
  const share = rope.has('partial_rotary_factor') ? rope : fields
  const isLookedAt = rotatesPart || typeOf(rope) !== 'default'
  const dims = isLookedAt ? rotatedDims(share, headDim) : headDim
  if (dims !== headDim && !rotatesPart) share.refuse('partial_rotary_factor', '1: this family rotates whole heads')
  return {
    theta: rope.has('rope_theta') ? positive(rope, 'rope_theta') : positive(fields, thetaKey),
    ...(dims === headDim ? {} : { dims }),
    scaling: scalingOf(fields, rope, around),
  }
}

/** DeepSeek's factor of the scores: YaRN's `mscale_all_dim`, squared. */
export function scoreFactor(fields: ConfigFields): number {
  const rope = ropeFields(fields)
  if (typeOf(rope) === 'default' || !rope.has('mscale_all_dim')) return 1
  return attentionScale(positive(rope, 'factor'), rope.number('mscale_all_dim')) ** 2
}

const typeOf = (rope: ConfigFields): unknown => rope.raw('rope_type') ?? rope.raw('type') ?? 'default'

function scalingOf(fields: ConfigFields, rope: ConfigFields, around: RopeSurroundings): RopeScaling {
  const { originalMaxPosition } = around
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
      return yarn(rope, around, fields.size('max_position_embeddings'))
    case 'llama3':
      return {
        type,
        factor: positive(rope, 'factor'),
        lowFreqFactor: positive(rope, 'low_freq_factor'),
        highFreqFactor: positive(rope, 'high_freq_factor'),
        originalMaxPosition,
      }
    default:
      throw new ClusterError(
        'unimplemented',
        `${rope.path}: rope_type: want default, linear, dynamic, yarn or llama3, got ${shown(type)}`,
      )
  }
}

const ORIGINAL = 'original_max_position_embeddings'

/** The configuration's own key comes before the one among the rotary parameters. */
const originalMaxPosition = (fields: ConfigFields, rope: ConfigFields): number =>
  fields.has(ORIGINAL) ? fields.size(ORIGINAL) : rope.size(ORIGINAL, fields.size('max_position_embeddings'))

/** A null is as a false. */
const isTruncated = (rope: ConfigFields): boolean => rope.raw('truncate') === undefined || rope.flag('truncate', false)

function yarn(rope: ConfigFields, around: RopeSurroundings, maxPositions: number): RopeScaling {
  const { originalMaxPosition } = around
  const factor = positive(rope, 'factor', maxPositions / originalMaxPosition)
  return {
    type: 'yarn',
    factor,
    originalMaxPosition,
    betaFast: rope.number('beta_fast', 32) || 32,
    betaSlow: rope.number('beta_slow', 1) || 1,
    isTruncated: around.isTruncated,
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
