// Reading `config.json`: every key is checked where it is read, and an error names the key, what it holds and what is
// wanted. Families share what they share: sizes, heads, end tokens.

import { ClusterError } from '../errors.js'
import type { LinearRef, TensorRef } from './spec.js'

type Config = Readonly<Record<string, unknown>>

export interface ConfigFields {
  readonly family: string
  readonly path: string // for errors: of the file and, where it is a section, of the section inside
  has(key: string): boolean
  /** A positive integer. */
  size(key: string, fallback?: number): number
  /** A non-negative integer. */
  count(key: string, fallback?: number): number
  number(key: string, fallback?: number): number
  flag(key: string, fallback: boolean): boolean
  /** A list of non-negative integers. */
  counts(key: string): readonly number[]
  /** The fields of an object inside; of an empty one where there is none. */
  section(key: string): ConfigFields
  /** The same fields with values for absent keys. */
  withDefaults(defaults: Config): ConfigFields
  raw(key: string): unknown
  refuse(key: string, wanted: string): never
}

/** What is counted out one by one: far more than any published model has. */
const MOST: ReadonlyMap<string, number> = new Map([
  ['num_hidden_layers', 512],
  ['num_experts', 1024],
  ['num_local_experts', 1024],
  ['n_routed_experts', 1024],
])

export function configFields(config: Config, path: string): ConfigFields {
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
    const most = MOST.get(key) ?? Infinity
    return value <= most ? value : refuse(key, `at most ${most}`)
  }
  return {
    family: typeof config.model_type === 'string' ? config.model_type : 'unknown',
    path,
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
    section: (key) => {
      const value = config[key] ?? {}
      return isObject(value) ? configFields(value, `${path}: ${key}`) : refuse(key, 'an object')
    },
    withDefaults: (defaults) => configFields({ ...defaults, ...config }, path),
    raw: (key) => config[key],
    refuse,
  }
}

const isObject = (value: unknown): value is Config =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A linear layer's tensors: NAME.weight [outputs, inputs] and, where asked, NAME.bias [outputs]. */
export function linearRef(name: string, outputs: number, inputs: number, hasBias = false): LinearRef {
  const weight = { name: `${name}.weight`, shape: [outputs, inputs] }
  return hasBias ? { weight, bias: { name: `${name}.bias`, shape: [outputs] } } : { weight }
}

export const vectorRef = (name: string, size: number): TensorRef => ({ name: `${name}.weight`, shape: [size] })

/** End-of-sequence ids: one, a list, or none. */
export function eosOf(value: unknown): readonly number[] {
  const list = Array.isArray(value) ? value : [value]
  return list.filter((id): id is number => Number.isSafeInteger(id) && Number(id) >= 0)
}
