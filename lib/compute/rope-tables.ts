// Rotary tables: one row of cosines and sines per position, made when a position is first used. The steps round to
// float32 where the reference implementation does, so that long contexts agree with it.
//
// Invariants
//   RT1  A row is a function of its position alone. The reference stretches `dynamic` frequencies by the length of the
//        text at each forward pass, so that a text in one pass and the same text token by token differ; here a row at
//        position p always has the frequencies for a text that ends with it.
//   RT2  So many rows are kept and no more, however long the contexts are.

import type { RopeScaling, RopeSpec } from '../model/spec.js'

export interface RopeTables {
  /** [positions.length, width]: width / 2 cosines, then as many sines, for these absolute positions. */
  rows(positions: ArrayLike<number>): Float32Array
}

type Scaling<Type extends RopeScaling['type']> = Extract<RopeScaling, { type: Type }>

/** Inverse frequencies [width / 2] of the rotated dimensions at a position. */
export function inverseFrequencies({ theta, scaling }: RopeSpec, width: number, position = 0): Float32Array {
  if (scaling.type === 'yarn') return yarn(theta, width, scaling)
  const base = scaling.type === 'dynamic' ? stretchedBase(theta, width, position, scaling) : theta
  return wavelengths(base, width).map((each, i) => {
    const frequency = Math.fround(1 / each)
    if (scaling.type === 'linear') return frequency / scaling.factor
    if (scaling.type === 'factors') return frequency / scaling.factors[i]!
    return scaling.type === 'llama3' ? stretched(frequency, scaling) : frequency
  })
}

/** theta^(2i / width) [width / 2]. */
const wavelengths = (theta: number, width: number): Float32Array =>
  Float32Array.from({ length: width / 2 }, (_, i) => Math.pow(theta, Math.fround((2 * i) / width)))

/** Llama 3.1's published rule: long waves are stretched, short ones are not, with a blend between. */
function stretched(frequency: number, scaling: Scaling<'llama3'>): number {
  const wavelength = (2 * Math.PI) / frequency
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPosition } = scaling
  if (wavelength < originalMaxPosition / highFreqFactor) return frequency
  if (wavelength > originalMaxPosition / lowFreqFactor) return frequency / factor
  const smooth = (originalMaxPosition / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}

/** NTK-aware scaling: the longest wave stretches as the text outgrows what the model was trained on. */
function stretchedBase(theta: number, width: number, position: number, scaling: Scaling<'dynamic'>): number {
  const { factor, originalMaxPosition } = scaling
  const length = Math.max(position + 1, originalMaxPosition)
  return theta * ((factor * length) / originalMaxPosition - (factor - 1)) ** (width / (width - 2))
}

/** YaRN (Peng et al., arXiv 2309.00071): waves that turn often keep their frequency, those that turn seldom are divided. */
function yarn(theta: number, width: number, scaling: Scaling<'yarn'>): Float32Array {
  const { factor, originalMaxPosition, betaFast, betaSlow, isTruncated } = scaling
  const dimensionOf = (turns: number): number =>
    (width * Math.log(originalMaxPosition / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const [fast, slow] = [dimensionOf(betaFast), dimensionOf(betaSlow)]
  const low = Math.max(isTruncated ? Math.floor(fast) : fast, 0)
  const high = Math.min(isTruncated ? Math.ceil(slow) : slow, width - 1)
  const range = Math.fround(low === high ? 0.001 : high - low)
  return wavelengths(theta, width).map((wavelength, i) => {
    const ramp = Math.fround(Math.fround(i - Math.fround(low)) / range)
    const kept = Math.fround(1 - Math.min(1, Math.max(0, ramp)))
    const divided = Math.fround(1 / Math.fround(factor * wavelength)) * Math.fround(1 - kept)
    return Math.fround(divided) + Math.fround(Math.fround(1 / wavelength) * kept)
  })
}

const KEPT_ROWS = 8192

/** `width` dimensions are rotated. */
export function createRopeTables(rope: RopeSpec, width: number): RopeTables {
  const { scaling } = rope
  const half = width / 2
  const attentionFactor = Math.fround(scaling.type === 'yarn' ? scaling.attentionFactor : 1)
  const trained = inverseFrequencies(rope, width)
  const made = new Map<number, Float32Array>() // position → [cos…, sin…]

  const frequenciesAt = (position: number): Float32Array => {
    const isOutgrown = scaling.type === 'dynamic' && position >= scaling.originalMaxPosition
    return isOutgrown ? inverseFrequencies(rope, width, position) : trained
  }
  const row = (position: number): Float32Array => {
    const known = made.get(position)
    if (known !== undefined) return known
    const frequencies = frequenciesAt(position)
    const values = new Float32Array(width)
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!)
      values[i] = Math.fround(Math.cos(angle)) * attentionFactor
      values[half + i] = Math.fround(Math.sin(angle)) * attentionFactor
    }
    if (made.size >= KEPT_ROWS) made.clear()
    made.set(position, values)
    return values
  }

  return {
    rows: (positions) => {
      const tables = new Float32Array(positions.length * width)
      for (let i = 0; i < positions.length; i++) tables.set(row(positions[i]!), i * width)
      return tables
    },
  }
}
