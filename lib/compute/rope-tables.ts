// Rotary tables: one row of cosines and sines per position, made when a position is first used. The steps round to
// float32 where the reference implementation does, so that long contexts agree with it.

import type { RopeSpec } from '../model/spec.js'

export interface RopeTables {
  /** [positions.length, headDim]: headDim / 2 cosines, then as many sines, for these absolute positions. */
  rows(positions: ArrayLike<number>): Float32Array
}

/** Inverse frequencies [headDim / 2]; `llama3` stretches the low ones (Llama 3.1's published rule). */
export function inverseFrequencies(rope: RopeSpec, headDim: number): Float32Array {
  const frequencies = new Float32Array(headDim / 2)
  for (let i = 0; i < frequencies.length; i++) {
    const frequency = Math.fround(1 / Math.fround(Math.pow(rope.theta, (2 * i) / headDim)))
    frequencies[i] = rope.scaling.type === 'llama3' ? stretch(frequency, rope.scaling) : frequency
  }
  return frequencies
}

type Llama3 = Extract<RopeSpec['scaling'], { type: 'llama3' }>

function stretch(frequency: number, scaling: Llama3): number {
  const wavelength = (2 * Math.PI) / frequency
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPosition } = scaling
  if (wavelength < originalMaxPosition / highFreqFactor) return frequency
  if (wavelength > originalMaxPosition / lowFreqFactor) return frequency / factor
  const smooth = (originalMaxPosition / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}

export function createRopeTables(rope: RopeSpec, headDim: number): RopeTables {
  const frequencies = inverseFrequencies(rope, headDim)
  const half = frequencies.length
  const made = new Map<number, Float32Array>() // position → [cos…, sin…]

  const row = (position: number): Float32Array => {
    const known = made.get(position)
    if (known !== undefined) return known
    const values = new Float32Array(2 * half)
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!)
      values[i] = Math.cos(angle)
      values[half + i] = Math.sin(angle)
    }
    made.set(position, values)
    return values
  }

  return {
    rows: (positions) => {
      const tables = new Float32Array(positions.length * headDim)
      for (let i = 0; i < positions.length; i++) tables.set(row(positions[i]!), i * headDim)
      return tables
    },
  }
}
