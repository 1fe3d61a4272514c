// A layer's attention in plain float64, row by row, as the papers write it down: what the engine's layers are judged by.

import type { LinearWeights } from '../../../lib/compute/linear-weights.js'

export type Row = readonly number[]

export const times = ({ weights, inputs, outputs, bias }: LinearWeights, x: Row): number[] =>
  Array.from({ length: outputs }, (_, out) =>
    x.reduce((sum, value, i) => sum + value * weights[out * inputs + i]!, bias?.[out] ?? 0),
  )

export function normed(x: Row, weight: ArrayLike<number>, epsilon: number): number[] {
  const factor = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + epsilon)
  return x.map((value, i) => value * factor * weight[i]!)
}

/** Rotates the first `dims` of a head; pairs are half of them apart. */
export function rotated(x: Row, position: number, theta: number, dims = x.length): number[] {
  const half = dims / 2
  return x.map((value, i) => {
    if (i >= dims) return value
    const angle = position * theta ** ((-2 * (i % half)) / dims)
    const [other, sign] = i < half ? [x[i + half]!, -1] : [x[i - half]!, 1]
    return value * Math.cos(angle) + sign * other * Math.sin(angle)
  })
}

export const heads = (x: Row, width: number): number[][] =>
  Array.from({ length: x.length / width }, (_, head) => x.slice(head * width, (head + 1) * width))

/** How scores become weights. */
export interface Scoring {
  readonly scale: number
  readonly window?: number | undefined
  readonly sink?: number | undefined
}

/** One query head at the last of the positions that keys and values are of. */
export function attended(query: Row, keys: readonly Row[], values: readonly Row[], scoring: Scoring): number[] {
  const { scale, window = Infinity, sink } = scoring
  const weights = keys.map((key, position) => {
    if (position <= keys.length - 1 - window) return 0
    return Math.exp(scale * key.reduce((sum, value, i) => sum + value * query[i]!, 0))
  })
  const total = weights.reduce((sum, weight) => sum + weight, sink === undefined ? 0 : Math.exp(sink))
  return values[0]!.map((_, i) => values.reduce((sum, value, at) => sum + (weights[at]! / total) * value[i]!, 0))
}

export const sumOf = (a: Row, b: Row): number[] => a.map((value, i) => value + b[i]!)

/** The nearest float16, the even one at a tie. */
export function nearestHalf(value: number): number {
  const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(value) || 1)))
  const unit = 2 ** (exponent - 10)
  const units = value / unit
  const below = Math.floor(units)
  const isUp = units - below > 0.5 || (units - below === 0.5 && below % 2 !== 0)
  return Math.max(-65504, Math.min(65504, (isUp ? below + 1 : below) * unit))
}
