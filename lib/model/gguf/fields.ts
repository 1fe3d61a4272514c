// Metadata of a GGUF file: every key is checked where it is read, and an error names the file, the key, what it holds
// and what is wanted.

import { ClusterError } from '../../errors.js'
import { shown } from '../shown.js'

export interface GgufFields {
  has(key: string): boolean
  /** A non-negative integer, or a list that says the same one for each layer. */
  count(key: string, fallback?: number): number
  number(key: string, fallback?: number): number
  flag(key: string, fallback: boolean): boolean
  text(key: string, fallback?: string): string
  texts(key: string): readonly string[]
  numbers(key: string): readonly number[]
  refuse(key: string, wanted: string): never
}

export function ggufFields(metadata: ReadonlyMap<string, unknown>, path: string): GgufFields {
  const values = new Map([...metadata].map(([key, value]) => [key, plain(value)]))
  const refuse = (key: string, wanted: string): never => {
    throw new ClusterError('invalid_argument', `${path}: ${key}: want ${wanted}, got ${found(values.get(key))}`)
  }
  const read = <T>(
    key: string,
    fallback: T | undefined,
    wanted: string,
    isRight: (value: unknown) => value is T,
  ): T => {
    const value = values.get(key)
    if (value === undefined && fallback !== undefined) return fallback
    return isRight(value) ? value : refuse(key, wanted)
  }
  return {
    has: (key) => values.has(key),
    count: (key, fallback) => {
      const value = values.get(key)
      const [first, ...others] = Array.isArray(value) ? (value as unknown[]) : [value]
      if (Array.isArray(value) && others.some((other) => other !== first))
        return refuse(key, 'one number for all layers')
      if (first === undefined && fallback !== undefined) return fallback
      return isCount(first) ? first : refuse(key, 'a whole number')
    },
    number: (key, fallback) => read(key, fallback, 'a number', isNumber),
    flag: (key, fallback) => read(key, fallback, 'true or false', (value) => typeof value === 'boolean'),
    text: (key, fallback) => read(key, fallback, 'a text', isText),
    texts: (key) => read(key, undefined, 'a list of texts', (value) => Array.isArray(value) && value.every(isText)),
    numbers: (key) =>
      read(key, undefined, 'a list of numbers', (value) => Array.isArray(value) && value.every(isNumber)),
    refuse,
  }
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

/** 64-bit integers as numbers, where those hold them. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  return Array.isArray(value) && typeof value[0] === 'bigint' ? value.map(plain) : value
}

const found = (value: unknown): string => (Array.isArray(value) ? `a list of ${value.length}` : shown(value))
