// The randomness of sampling: Gumbel noise as a pure function of (seed, choice, position, token).
//
// Invariants
//   N1  No state that shows: the order and number of calls change nothing, so a tree node draws what plain decoding
//       draws, and a drafter that knows the seed can draw the same noise.
//   N2  Uniforms lie strictly inside (0, 1), so the noise is finite: between -3.7 and MAX_GUMBEL.
//   N3  Integer mixing plus Math.log in float64; SAMPLER_VERSION changes whenever a value does.
//
// The mixing is Philox4x32-10 (Salmon et al. 2011): key = the seed, counter = (token >> 1, position, choice, DOMAIN).
// One block of four words serves two neighbouring token ids.

const DOMAIN = 0x62616e79 // keeps other users of the same seed apart
const MULTIPLIER_0 = 0xd2511f53 | 0
const MULTIPLIER_1 = 0xcd9e8d57 | 0
const WEYL_0 = 0x9e3779b9 | 0
const WEYL_1 = 0xbb67ae85 | 0
const ROUNDS = 10
const TWO_POW_20 = 2 ** 20
const TWO_POW_MINUS_52 = 2 ** -52

/** No noise value is above this: the largest uniform is 1 - 2^-53. */
export const MAX_GUMBEL = 36.75

/** The upper 32 bits of the 64-bit product of two uint32 (given and returned as int32 bit patterns). */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const crossA = Math.imul(aHigh, bLow)
  const crossB = Math.imul(aLow, bHigh)
  const carry = ((Math.imul(aLow, bLow) >>> 16) + (crossA & 0xffff) + (crossB & 0xffff)) >>> 16
  return (Math.imul(aHigh, bHigh) + (crossA >>> 16) + (crossB >>> 16) + carry) | 0
}

/** Philox4x32-10 in place: `block` is [4] int32, the counter before and the random words after. */
export function philox(block: Int32Array, keyLow: number, keyHigh: number): void {
  let c0 = block[0]!
  let c1 = block[1]!
  let c2 = block[2]!
  let c3 = block[3]!
  for (let round = 0, k0 = keyLow | 0, k1 = keyHigh | 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(c0, MULTIPLIER_0)
    const high1 = multiplyHigh(c2, MULTIPLIER_1)
    const low0 = Math.imul(c0, MULTIPLIER_0)
    c0 = high1 ^ c1 ^ k0
    c1 = Math.imul(c2, MULTIPLIER_1)
    c2 = high0 ^ c3 ^ k1
    c3 = low0
    k0 = (k0 + WEYL_0) | 0
    k1 = (k1 + WEYL_1) | 0
  }
  block[0] = c0
  block[1] = c1
  block[2] = c2
  block[3] = c3
}

/** 52 bits and a half: an odd multiple of 2^-53, never 0 and never 1. */
function toOpenUnit(high: number, low: number): number {
  return ((high >>> 0) * TWO_POW_20 + (low >>> 12) + 0.5) * TWO_POW_MINUS_52
}

/** Standard Gumbel quantile of a uniform in (0, 1). */
export function gumbelOf(uniform: number): number {
  return -Math.log(-Math.log(uniform))
}

/** The noise of one (seed, choice). Positions and tokens are non-negative int32. */
export interface Noise {
  uniform(position: number, token: number): number
  gumbel(position: number, token: number): number
}

/** Noise for a uint64 seed and a choice index; splits the seed once, so that drawing needs no BigInt. */
export function noiseKey(seed: bigint, choice: number): Noise {
  const keyLow = Number(BigInt.asUintN(32, seed)) | 0
  const keyHigh = Number(BigInt.asUintN(32, seed >> 32n)) | 0
  const block = new Int32Array(4) // the words of (blockPosition, blockPair), kept for the neighbouring token
  let blockPosition = -1
  let blockPair = -1

  const uniform = (position: number, token: number): number => {
    const pair = token >>> 1
    if (pair !== blockPair || position !== blockPosition) {
      block[0] = blockPair = pair
      block[1] = blockPosition = position
      block[2] = choice
      block[3] = DOMAIN
      philox(block, keyLow, keyHigh)
    }
    return token & 1 ? toOpenUnit(block[2]!, block[3]!) : toOpenUnit(block[0]!, block[1]!)
  }
  return { uniform, gumbel: (position, token) => gumbelOf(uniform(position, token)) }
}
