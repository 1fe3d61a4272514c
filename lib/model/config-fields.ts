// Reading `config.json`: every key is checked where it is read, and an error names the key, what it holds and what is
// wanted. Families share what they share: sizes, heads, rotation, end tokens.

import { ClusterError } from '../errors.js'
import type { LinearRef, RopeSpec, TensorRef } from './spec.js'

export interface ConfigFields {
  readonly family: string
  has(key: string): boolean
  /** A positive integer. */
  size(key: string, fallback?: number): number
  /** A non-negative integer. */
  count(key: string, fallback: number): number
  number(key: string, fallback?: number): number
  flag(key: string, fallback: boolean): boolean
  /** A list of non-negative integers. */
  counts(key: string): readonly number[]
  raw(key: string): unknown
  refuse(key: string, wanted: string): never
}

export function configFields(config: Readonly<Record<string, unknown>>, path: string): ConfigFields {
  const family = typeof config.model_type === 'string' ? config.model_type : 'unknown'
  const refuse = (key: string, wanted: string): never => {
    throw new ClusterError(
      'invalid_argument',
      `${path}: ${key}: want ${wanted}, got ${JSON.stringify(config[key]) ?? 'nothing'}`,
    )
  }
  const has = (key: string): boolean => config[key] !== undefined && config[key] !== null
  const integer = (key: string, min: number, fallback: number | undefined): number => {
    if (!has(key) && fallback !== undefined) return fallback
    const value = config[key]
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
      return refuse(key, `an integer of at least ${min}`)
    }
    return value
  }
  return {
    family,
    has,
    size: (key, fallback) => integer(key, 1, fallback),
    count: (key, fallback) => integer(key, 0, fallback),
    number: (key, fallback) => {
      if (!has(key) && fallback !== undefined) return fallback
      const value = config[key]
      return typeof value === 'number' && Number.isFinite(value) ? value : refuse(key, 'a number')
    },
    flag: (key, fallback) => {
      if (!has(key)) return fallback
      const value = config[key]
      return typeof value === 'boolean' ? value : refuse(key, 'true or false')
    },
    counts: (key) => {
      const value = config[key] ?? []
      const isList = Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
      return isList ? (value as number[]) : refuse(key, 'a list of layer numbers') // every item was just checked
    },
    raw: (key) => config[key],
    refuse,
  }
}

/** A linear layer's tensors: NAME.weight [outputs, inputs] and, where asked, NAME.bias [outputs]. */
export function linearRef(name: string, outputs: number, inputs: number, hasBias = false): LinearRef {
  const weight = { name: `${name}.weight`, shape: [outputs, inputs] }
  return hasBias ? { weight, bias: { name: `${name}.bias`, shape: [outputs] } } : { weight }
}

export const vectorRef = (name: string, size: number): TensorRef => ({ name: `${name}.weight`, shape: [size] })

/** Rotary parameters from `rope_parameters` (newer) or `rope_theta` and `rope_scaling` (older). */
export function ropeOf(fields: ConfigFields): RopeSpec {
  const key = fields.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling'
  const raw = fields.raw(key) ?? {}
  if (typeof raw !== 'object') return fields.refuse(key, 'an object')
  const rope = raw as Readonly<Record<string, unknown>> // any object may be read by key; values are checked below
  const value = (name: string): number => {
    const found = rope[name]
    return typeof found === 'number' && Number.isFinite(found) && found > 0
      ? found
      : fields.refuse(key, `a positive number in ${name}`)
  }
  const theta = typeof rope.rope_theta === 'number' ? value('rope_theta') : fields.number('rope_theta', 10_000)
  const type = rope.rope_type ?? rope.type ?? 'default'
  if (type === 'default') return { theta, scaling: { type: 'default' } }
  if (type !== 'llama3') {
    throw new ClusterError(
      'unimplemented',
      `${key}: rope type ${JSON.stringify(type)}; this version knows default and llama3`,
    )
  }
  const original = rope.original_max_position_embeddings
  return {
    theta,
    scaling: {
      type: 'llama3',
      factor: value('factor'),
      lowFreqFactor: value('low_freq_factor'),
      highFreqFactor: value('high_freq_factor'),
      originalMaxPosition: typeof original === 'number' ? original : fields.size('original_max_position_embeddings'),
    },
  }
}

/** End-of-sequence ids: one, a list, or none. */
export function eosOf(value: unknown): readonly number[] {
  const list = Array.isArray(value) ? value : [value]
  return list.filter((id): id is number => Number.isSafeInteger(id) && Number(id) >= 0)
}
