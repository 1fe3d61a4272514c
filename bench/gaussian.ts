// Normally distributed BF16 values by position: the value at an index depends on the key and the index alone, so a tensor
// can be made in any order and in pieces of any size.
//
// A value is a quantile chosen by 16 bits of a hash. That is the normal distribution as finely as BF16 can tell (cut at
// 4.3 standard deviations) at the price of half a hash and one look-up.

const QUANTILES = 65_536

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** The nearest BF16 value, ties to even. */
function bfloat16(value: number): number {
  float[0] = value
  const wide = bits[0]!
  return ((wide + 0x7fff + ((wide >>> 16) & 1)) >>> 16) & 0xffff
}

/** Inverse of the normal distribution for 0 < p <= 0.5, to 4.5e-4 (Abramowitz and Stegun 26.2.23). */
function lowerQuantile(p: number): number {
  const t = Math.sqrt(-2 * Math.log(p))
  const numerator = 2.515517 + t * (0.802853 + t * 0.010328)
  const denominator = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308))
  return numerator / denominator - t
}

/** BF16 quantiles of a normal distribution, [65536]. */
export function gaussianTable(mean: number, deviation: number): Uint16Array {
  const table = new Uint16Array(QUANTILES)
  for (let i = 0; i < QUANTILES / 2; i++) {
    const distance = deviation * lowerQuantile((i + 0.5) / QUANTILES)
    table[i] = bfloat16(mean + distance)
    table[QUANTILES - 1 - i] = bfloat16(mean - distance)
  }
  return table
}

/** Two words that stand for a seed and a name. */
export type Key = readonly [number, number]

export function keyOf(seed: number, name: string): Key {
  let key = scramble(seed, 0x9e3779b9)
  for (let i = 0; i < name.length; i++) key = scramble(key ^ name.charCodeAt(i), 0x85ebca6b)
  return [key, scramble(key, 0xc2b2ae35)]
}

/** A 32-bit mixing step: xor, shift and odd multiplications. */
function scramble(value: number, word: number): number {
  let x = (value ^ (value >>> 16)) + word
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d)
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39)
  return (x ^ (x >>> 15)) | 0
}

/** Fills `values` with the table's values for the positions first, first + 1, …; `first` is even. */
export function fillGaussian(values: Uint16Array, first: number, table: Uint16Array, [low, high]: Key): void {
  for (let i = 0; i < values.length; i += 2) {
    const hash = scramble(scramble((first + i) >>> 1, low), high)
    values[i] = table[hash & 0xffff]!
    if (i + 1 < values.length) values[i + 1] = table[hash >>> 16]!
  }
}
