// Weights to integers with a scale per group of blocks of 32, and the error that this makes (`lib/compute/quantise.ts`
// says what the integers are). Weights are finite, all blocks whole.
//
// Invariants
//   LV1  A level is that of the product weight · (1 / scale) in float64, halves rounded up, whichever way it is found: the
//        product in float32 is off by less than 2^-16, so it decides wherever it is farther than that from a half.
//   LV2  Squares are added within a group in ascending order, then group by group, row by row: a sum has the same bits
//        whatever the number of rows that are looked at together.

const BLOCK_BYTES: usize = 128 // of float32

/** Added to a float32 below 2^22, it leaves the nearest integer in the low bits. */
const MAGIC: f32 = 12582912
const MAGIC_BITS: i32 = 0x4b400000
const LIMIT: f32 = 0.5 - 6.103515625e-5 // half less 2^-14

// Neither sign nor size of a weight is foreseen: what depends on them is chosen without branches.

/** The largest lane, in all lanes. */
// @ts-ignore: decorator
@inline
function largestOf(x: v128): v128 {
  const pairs = f32x4.pmax(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1))
  return f32x4.pmax(pairs, v128.shuffle<i32>(pairs, pairs, 1, 0, 3, 2))
}

/** The largest magnitude from x to `end`. */
// @ts-ignore: decorator
@inline
function largestSize(x: usize, end: usize): f32 {
  let most = f32x4.splat(0)
  for (; x < end; x += 64) {
    const a = f32x4.abs(v128.load(x)), b = f32x4.abs(v128.load(x, 16))
    const c = f32x4.abs(v128.load(x, 32)), d = f32x4.abs(v128.load(x, 48))
    most = f32x4.pmax(most, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)))
  }
  return f32x4.extract_lane(largestOf(most), 0)
}

/** The weight of largest magnitude from x to `end`, the first of them. */
// @ts-ignore: decorator
@inline
function largestValue(x: usize, end: usize): f32 {
  let most = f32x4.splat(0), least = most
  for (let at = x; at < end; at += 64) {
    const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48)
    most = f32x4.pmax(most, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)))
    least = f32x4.pmin(least, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)))
  }
  const high = largestOf(most), low = largestOf(f32x4.neg(least))
  if (v128.any_true(f32x4.ne(high, low)))
    return f32x4.extract_lane(v128.bitselect(high, f32x4.neg(low), f32x4.gt(high, low)), 0)
  const size = f32x4.extract_lane(high, 0)
  if (size == 0) return 0
  while (abs(load<f32>(x)) != size) x += 4
  return load<f32>(x)
}

/** The group's scale: the nearest bfloat16 number that is not nearer to zero. */
// @ts-ignore: decorator
@inline
function scaleOf(bits: i32, x: usize, end: usize): f32 {
  const scale = <f32>(bits == 8 ? <f64>largestSize(x, end) / 127 : <f64>largestValue(x, end) / -8)
  return reinterpret<f32>((reinterpret<u32>(scale) + 0xffff) & 0xffff0000)
}

// @ts-ignore: decorator
@inline
function inverseOf(scale: f32): f64 {
  return scale == 0 ? 0 : 1 / <f64>scale
}

/** Whether a float32 holds it as well as others. */
// @ts-ignore: decorator
@inline
function isOrdinary(inverse: f64): bool {
  const size = abs(inverse)
  return size < 1e30 && (size > 1e-30 || size == 0)
}

/** What a product in float32 is off the integer that was found for it. */
// @ts-ignore: decorator
@inline
function offset(product: v128, shifted: v128): v128 {
  return f32x4.sub(product, f32x4.sub(shifted, f32x4.splat(MAGIC)))
}

// @ts-ignore: decorator
@inline
function narrow(a: v128, b: v128): v128 {
  return i16x8.narrow_i32x4_s(i32x4.sub(a, i32x4.splat(MAGIC_BITS)), i32x4.sub(b, i32x4.splat(MAGIC_BITS)))
}

/** The level of one weight, from zero up. */
// @ts-ignore: decorator
@inline
function exactLevel(bits: i32, product: f64): i32 {
  const near = nearest(product)
  const level = product - near == 0.5 ? near + 1 : near
  return bits == 8 ? <i32>(max(-127.0, min(127.0, level)) + 128) : <i32>(max(-8.0, min(7.0, level)) + 8)
}

function exactBlock8(x: usize, inverse: f64, to: usize): void {
  for (let i: usize = 0; i < 32; i++) store<u8>(to + i, exactLevel(8, <f64>load<f32>(x + (i << 2)) * inverse))
}

function exactBlock4(x: usize, inverse: f64, to: usize): void {
  for (let i: usize = 0; i < 16; i++) {
    const low = exactLevel(4, <f64>load<f32>(x + (i << 3)) * inverse)
    const high = exactLevel(4, <f64>load<f32>(x + (i << 3), 4) * inverse)
    store<u8>(to + i, low | (high << 4))
  }
}

// @ts-ignore: decorator
@inline
function exactBlock(bits: i32, x: usize, inverse: f64, to: usize): void {
  if (bits == 8) exactBlock8(x, inverse, to)
  else exactBlock4(x, inverse, to)
}

/** Levels of a block of 32 weights. */
// @ts-ignore: decorator
@inline
function putBlock(bits: i32, x: usize, fast: v128, inverse: f64, to: usize): void {
  const magic = f32x4.splat(MAGIC)
  let most = f32x4.splat(0), least = most, nibbles = most
  for (let half: usize = 0; half < 2; half++) {
    const y0 = f32x4.mul(v128.load(x), fast), y1 = f32x4.mul(v128.load(x, 16), fast)
    const y2 = f32x4.mul(v128.load(x, 32), fast), y3 = f32x4.mul(v128.load(x, 48), fast)
    const t0 = f32x4.add(y0, magic), t1 = f32x4.add(y1, magic), t2 = f32x4.add(y2, magic), t3 = f32x4.add(y3, magic)
    const d0 = offset(y0, t0), d1 = offset(y1, t1), d2 = offset(y2, t2), d3 = offset(y3, t3)
    most = f32x4.pmax(most, f32x4.pmax(f32x4.pmax(d0, d1), f32x4.pmax(d2, d3)))
    least = f32x4.pmin(least, f32x4.pmin(f32x4.pmin(d0, d1), f32x4.pmin(d2, d3)))
    const levels = i8x16.narrow_i16x8_s(narrow(t0, t1), narrow(t2, t3))
    if (bits == 8) v128.store(to + (half << 4), v128.xor(levels, i8x16.splat(-128)))
    else {
      const words = i8x16.add(i8x16.min_s(levels, i8x16.splat(7)), i8x16.splat(8))
      const pairs = v128.and(v128.or(words, i16x8.shr_u(words, 4)), i16x8.splat(255))
      if (half == 0) nibbles = pairs
      else v128.store(to, i8x16.narrow_i16x8_u(nibbles, pairs))
    }
    x += 64
  }
  const isNear = v128.or(f32x4.ge(most, f32x4.splat(LIMIT)), f32x4.le(least, f32x4.splat(-LIMIT)))
  if (v128.any_true(isNear)) exactBlock(bits, x - BLOCK_BYTES, inverse, to)
}

// @ts-ignore: decorator
@inline
function putRows(bits: i32, x: usize, rows: i32, blocks: i32, group: i32, levels: usize, scales: usize): void {
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block += group) {
      const end = x + <usize>min(group, blocks - block) * BLOCK_BYTES
      const scale = scaleOf(bits, x, end)
      store<f32>(scales, scale)
      scales += 4
      const inverse = inverseOf(scale)
      const isFast = isOrdinary(inverse)
      for (; x < end; x += BLOCK_BYTES) {
        if (isFast) putBlock(bits, x, f32x4.splat(<f32>inverse), inverse, levels)
        else exactBlock(bits, x, inverse, levels)
        levels += bits == 8 ? 32 : 16
      }
    }
  }
}

/** Rows of whole blocks; `group` blocks share a scale, the last ones of a row maybe fewer. */
export function quantiseInt8(x: usize, rows: i32, blocks: i32, group: i32, levels: usize, scales: usize): void {
  putRows(8, x, rows, blocks, group, levels, scales)
}

export function quantiseInt4(x: usize, rows: i32, blocks: i32, group: i32, levels: usize, scales: usize): void {
  putRows(4, x, rows, blocks, group, levels, scales)
}

/** What two weights differ from what their levels stand for. */
// @ts-ignore: decorator
@inline
function difference(bits: i32, weights: v128, inverse: v128, scale: v128): v128 {
  const product = f64x2.mul(weights, inverse)
  const near = f64x2.nearest(product)
  const isHalf = f64x2.eq(f64x2.sub(product, near), f64x2.splat(0.5))
  const level = f64x2.add(near, v128.and(isHalf, f64x2.splat(1)))
  const lowest = f64x2.splat(bits == 8 ? -127 : -8), highest = f64x2.splat(bits == 8 ? 127 : 7)
  return f64x2.sub(weights, f64x2.mul(f64x2.pmax(f64x2.pmin(level, highest), lowest), scale))
}

// @ts-ignore: decorator
@inline
function plusSquare(sum: v128, value: v128): v128 {
  return f64x2.add(sum, f64x2.mul(value, value))
}

/** Two weights of a row each, as float64. */
// @ts-ignore: decorator
@inline
function pairAt(x: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(x))
}

/** What a group of two rows loses and what it had, from a and b on: [lost a, all a], [lost b, all b]. */
// @ts-ignore: decorator
@inline
function sumGroup(bits: i32, a: usize, b: usize, numBytes: usize, termA: usize, termB: usize): void {
  const scaleA = scaleOf(bits, a, a + numBytes), scaleB = scaleOf(bits, b, b + numBytes)
  const scale = f64x2.replace_lane(f64x2.splat(<f64>scaleA), 1, <f64>scaleB)
  const inverse = f64x2.replace_lane(f64x2.splat(inverseOf(scaleA)), 1, inverseOf(scaleB))
  let lost = f64x2.splat(0), all = lost
  for (const end = a + numBytes; a < end; a += 8) {
    const ofA = pairAt(a), ofB = pairAt(b)
    const first = v128.shuffle<f64>(ofA, ofB, 0, 2), second = v128.shuffle<f64>(ofA, ofB, 1, 3)
    lost = plusSquare(lost, difference(bits, first, inverse, scale))
    all = plusSquare(all, first)
    lost = plusSquare(lost, difference(bits, second, inverse, scale))
    all = plusSquare(all, second)
    b += 8
  }
  v128.store(termA, v128.shuffle<f64>(lost, all, 0, 2))
  v128.store(termB, v128.shuffle<f64>(lost, all, 1, 3))
}

/** Adds rows' squares to `sums`: what quantising loses, what there was. `terms` has room for two rows of groups. */
// @ts-ignore: decorator
@inline
function addErrors(bits: i32, x: usize, rows: i32, blocks: i32, group: i32, terms: usize, sums: usize): void {
  const rowBytes = <usize>blocks * BLOCK_BYTES
  const rowTerms = <usize>((blocks + group - 1) / group) << 4
  let sum = v128.load(sums)
  for (let row = 0; row < rows; row += 2) {
    const isLast = row + 1 == rows
    const other = isLast ? x : x + rowBytes
    let term = terms
    for (let at: usize = 0; at < rowBytes; ) {
      const numBytes = min(<usize>group * BLOCK_BYTES, rowBytes - at)
      sumGroup(bits, x + at, other + at, numBytes, term, term + rowTerms)
      at += numBytes
      term += 16
    }
    for (term = terms; term < terms + (isLast ? rowTerms : rowTerms << 1); term += 16) {
      sum = f64x2.add(sum, v128.load(term))
    }
    x += rowBytes << 1
  }
  v128.store(sums, sum)
}

export function addErrorsInt8(x: usize, rows: i32, blocks: i32, group: i32, terms: usize, sums: usize): void {
  addErrors(8, x, rows, blocks, group, terms, sums)
}

export function addErrorsInt4(x: usize, rows: i32, blocks: i32, group: i32, terms: usize, sums: usize): void {
  addErrors(4, x, rows, blocks, group, terms, sums)
}
