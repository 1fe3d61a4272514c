// Words of the command line as values. What is no such value is a usage error that says what was wanted.

import { usageError } from './report-error.js'

const MAX_UINT64 = 2n ** 64n - 1n

/** '1,2,3' → [1, 2, 3]; at least one id. */
export function parseTokens(list: string): readonly number[] {
  const items = list.split(',').map((item) => item.trim())
  if (items.some((item) => !/^\d{1,10}$/.test(item)))
    throw usageError(`--tokens: want ids with commas, as in 1,2,3, found ${JSON.stringify(list)}`)
  return items.map(Number)
}

export const parseWhole =
  (flag: string) =>
  (value: string): number => {
    if (!/^\d{1,15}$/.test(value)) throw usageError(`${flag}: want a whole number, found ${JSON.stringify(value)}`)
    return Number(value)
  }

export const parseReal =
  (flag: string) =>
  (value: string): number => {
    const number = Number(value)
    if (value.trim() === '' || !Number.isFinite(number))
      throw usageError(`${flag}: want a number, found ${JSON.stringify(value)}`)
    return number
  }

export const parseUint64 =
  (flag: string) =>
  (value: string): bigint => {
    if (!/^\d{1,20}$/.test(value) || BigInt(value) > MAX_UINT64) {
      throw usageError(`${flag}: want a whole number from 0 to 2^64 - 1, found ${JSON.stringify(value)}`)
    }
    return BigInt(value)
  }
