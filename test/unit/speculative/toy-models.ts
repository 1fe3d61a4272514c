// Models over three tokens and the exact distribution of a text: no draw is made anywhere, every outcome is counted.

import { noiseKey } from '../../../lib/sampling/noise.js'

export const TOKENS = [0, 1, 2] as const
export const END = 2

/** One digit per token. */
export type Text = string
export type Probabilities = readonly number[] // [3]
export type Model = (prefix: Text) => Probabilities
export type Distribution = ReadonlyMap<Text, number>

/** Random probabilities for every prefix; uneven, none of them zero. */
export function toyModel(seed: number): Model {
  const noise = noiseKey(BigInt(seed), 0)
  const known = new Map<Text, Probabilities>()
  return (prefix) => {
    const place = parseInt(`1${prefix}`, 4)
    const made = known.get(prefix) ?? normalised(TOKENS.map((token) => -Math.log(noise.uniform(place, token))))
    known.set(prefix, made)
    return made
  }
}

/** After an end token only end tokens come: texts that stopped and texts that went on can be compared. */
export const ending =
  (model: Model): Model =>
  (prefix) =>
    prefix.includes(String(END)) ? TOKENS.map((token) => (token === END ? 1 : 0)) : model(prefix)

export const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

/** Values that add up to 1; all zero where nothing is left to share out. */
export function normalised(values: Probabilities): Probabilities {
  const total = sumOf(values)
  return values.map((value) => (total > 1e-15 ? value / total : 0))
}

/** Every text goes on with plain sampling until it has `length` tokens; a longer one is cut. */
export function extended(emitted: Distribution, model: Model, length: number): Distribution {
  const full = new Map<Text, number>()
  const extend = (text: Text, probability: number): void => {
    if (probability === 0) return
    if (text.length >= length) addTo(full, text.slice(0, length), probability)
    else model(text).forEach((share, token) => extend(text + token, probability * share))
  }
  for (const [text, probability] of emitted) extend(text, probability)
  return full
}

export function addTo(distribution: Map<Text, number>, text: Text, probability: number): void {
  distribution.set(text, (distribution.get(text) ?? 0) + probability)
}

/** Half the sum of the differences: 0 for the same distribution, 1 for disjoint ones. */
export function totalVariation(a: Distribution, b: Distribution): number {
  const texts = [...new Set([...a.keys(), ...b.keys()])]
  return sumOf(texts.map((text) => Math.abs((a.get(text) ?? 0) - (b.get(text) ?? 0)))) / 2
}
