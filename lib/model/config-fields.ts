// Reading `config.json`: every key is checked where it is read, and an error names the key, what it holds and what is
// wanted. Families share what they share: sizes, heads, end tokens.
//
// Invariants
//   CF1  An absent key is read as its default, as if the file said so; a null is no absent key, and stands for what the
//        reader takes for none, or is refused.

import { ClusterError } from '../errors.js'
import { shown } from './shown.js'
import type { LinearRef, TensorRef } from './spec.js'

type Config = Readonly<Record<string, unknown>>

export interface ConfigFields {
  readonly family: string
  readonly path: string // for errors: of the file and, where it is a section, of the section inside
  readonly isEmpty: boolean // no key is given
  has(key: string): boolean
  /** A positive integer; `none` is what a null stands for, and an absent key without a default. */
  size(key: string, none?: number): number
  /** A non-negative integer. */
  count(key: string, none?: number): number
  number(key: string, none?: number): number
  flag(key: string, none?: boolean): boolean
  /** A list of non-negative integers. */
  counts(key: string): readonly number[]
  /** The fields of an object inside; of an empty one where there is none. */
  section(key: string): ConfigFields
  /** The same fields with values for absent keys. */
  withDefaults(defaults: Config): ConfigFields
  /** The same fields with other values. */
  with(values: Config): ConfigFields
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

/** Published names of the number of routed experts: a file that has one of them leaves none out. */
export const EXPERT_COUNTS: readonly string[] = ['num_experts', 'n_routed_experts', 'num_local_experts']

/** Those of the defaults that a configuration leaves to them. */
export function absentOf(config: Config, defaults: Config): Config {
  const isCounted = EXPERT_COUNTS.some((key) => config[key] !== undefined)
  const isAbsent = (key: string): boolean => config[key] === undefined && !(isCounted && EXPERT_COUNTS.includes(key))
  return Object.fromEntries(Object.entries(defaults).filter(([key]) => isAbsent(key)))
}

/** What the file that a configuration was made of calls its keys, where that is no `config.json`. */
export type KeyNames = Readonly<Record<string, string>>

export interface ConfigOptions {
  readonly defaults?: Config | undefined
  readonly names?: KeyNames | undefined
}

const KEY = /[a-z]+(_[a-z]+)+/g

export function configFields(config: Config, path: string, { defaults = {}, names }: ConfigOptions = {}): ConfigFields {
  const absent = absentOf(config, defaults)
  const nameOf = (key: string): string => names?.[key] ?? key
  const raw = (key: string): unknown => (config[key] === undefined ? absent[key] : config[key])
  const refuse = (key: string, wanted: string): never => {
    const taken = raw(key) === undefined ? '' : ` (by default ${shown(raw(key))})`
    const isLeftOut = config[key] === undefined || (names !== undefined && config[key] === null)
    const got = isLeftOut ? `nothing${taken}` : shown(config[key])
    throw new ClusterError(
      'invalid_argument',
      `${path}: ${nameOf(key)}: want ${wanted.replace(KEY, nameOf)}, got ${got}`,
    )
  }
  const has = (key: string): boolean => raw(key) !== undefined && raw(key) !== null
  const integer = (key: string, min: number, none: number | undefined): number => {
    if (!has(key) && none !== undefined) return none
    const value = raw(key)
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
      return refuse(key, `an integer of at least ${min}`)
    }
    const most = MOST.get(key) ?? Infinity
    return value <= most ? value : refuse(key, `at most ${most}`)
  }
  const named = raw('model_type')
  return {
    family: typeof named === 'string' ? named : 'unknown',
    path,
    isEmpty: Object.keys(config).length === 0,
    has,
    size: (key, none) => integer(key, 1, none),
    count: (key, none) => integer(key, 0, none),
    number: (key, none) => {
      if (!has(key) && none !== undefined) return none
      const value = raw(key)
      return typeof value === 'number' && Number.isFinite(value) ? value : refuse(key, 'a number')
    },
    flag: (key, none) => {
      if (!has(key) && none !== undefined) return none
      const value = raw(key)
      return typeof value === 'boolean' ? value : refuse(key, 'true or false')
    },
    counts: (key) => {
      const value = raw(key) ?? []
      const isList = Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
      return isList ? (value as number[]) : refuse(key, 'a list of layer numbers') // every item was just checked
    },
    section: (key) => {
      const value = raw(key) ?? {}
      if (!isObject(value)) return refuse(key, 'an object')
      return configFields(value, names === undefined ? `${path}: ${key}` : path, { names })
    },
    withDefaults: (more) => configFields(config, path, { defaults: { ...more, ...absent }, names }),
    with: (values) => configFields({ ...config, ...values }, path, { defaults: absent, names }),
    raw,
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

/** Ids of control tokens: one, a list, or none (negative ones are none); undefined for anything else. */
export function eosOf(value: unknown): readonly number[] | undefined {
  const list = Array.isArray(value) ? (value as unknown[]) : [value ?? -1]
  const ids = list.filter((id): id is number => Number.isSafeInteger(id))
  return ids.length === list.length ? ids.filter((id) => id >= 0) : undefined
}
