// Narrow numbers to float32, which is exact, and back; and whether numbers are finite.

/** bfloat16: the upper half of a float32. */
export function widenBfloat16(from: usize, count: usize, to: usize): void {
  const end = from + (count << 1)
  const whole = from + ((count & ~7) << 1)
  for (; from < whole; from += 16) {
    const halves = v128.load(from)
    v128.store(to, i32x4.shl(i32x4.extend_low_i16x8_u(halves), 16))
    v128.store(to, i32x4.shl(i32x4.extend_high_i16x8_u(halves), 16), 16)
    to += 32
  }
  for (; from < end; from += 2) {
    store<u32>(to, <u32>load<u16>(from) << 16)
    to += 4
  }
}

/**
 * Four float16 numbers in the lower halves of lanes, signs extended, all finite. The exponent is shifted into place, then
 * its bias set right, which normalises what is below 2^-14.
 */
// @ts-ignore: decorator
@inline
export function fromFiniteFloat16(halves: v128): v128 {
  const shifted = v128.and(i32x4.shl(halves, 13), i32x4.splat(0x8fffe000))
  return f32x4.mul(shifted, f32x4.splat(reinterpret<f32>(0x77800000))) // 2^112
}

/** The same of any: infinities and NaNs keep an exponent of ones. */
// @ts-ignore: decorator
@inline
function fromFloat16(halves: v128): v128 {
  const ones = i32x4.splat(0x0f800000)
  const isSpecial = i32x4.eq(v128.and(i32x4.shl(halves, 13), ones), ones)
  return v128.or(fromFiniteFloat16(halves), v128.and(isSpecial, i32x4.splat(0x7f800000)))
}

const LARGEST = 0x477fe000 // bits of 65504; as integers, sizes of floats have the order of the floats, NaNs come last
const TOO_LARGE = 0x477ff000 // 65520, the tie between the largest and what would follow it

/** The nearest float16 of each lane, the even one at a tie; what is beyond the largest, and what is no number, is the largest. */
// @ts-ignore: decorator
@inline
function toHalves(values: v128): v128 {
  const sign = v128.and(i32x4.shr_u(values, 16), i32x4.splat(0x8000))
  const size = i32x4.min_s(v128.and(values, i32x4.splat(0x7fffffff)), i32x4.splat(LARGEST))
  // Below 2^-14 they are multiples of 2^-24, which is what float32 numbers are between a half and one.
  const half = f32x4.splat(0.5)
  const small = i32x4.sub(f32x4.add(size, half), half)
  const isOdd = v128.and(i32x4.shr_u(size, 13), i32x4.splat(1))
  const large = i32x4.shr_u(i32x4.add(i32x4.add(size, i32x4.splat(0xfff - 0x38000000)), isOdd), 13)
  return v128.or(sign, v128.bitselect(small, large, i32x4.lt_s(size, i32x4.splat(0x38800000))))
}

export function toFloat16(value: f32): u16 {
  return <u16>i32x4.extract_lane(toHalves(f32x4.splat(value)), 0)
}

// @ts-ignore: decorator
@inline
function isTooLarge(values: v128): v128 {
  return i32x4.gt_s(v128.and(values, i32x4.splat(0x7fffffff)), i32x4.splat(TOO_LARGE - 1))
}

/** Rounds float32 numbers to float16; whether it has all of them in its range. */
export function narrowFloat16(from: usize, count: usize, to: usize): bool {
  const end = from + (count << 2)
  const whole = from + ((count & ~7) << 2)
  let found = i32x4.splat(0)
  for (; from < whole; from += 32) {
    const low = v128.load(from), high = v128.load(from, 16)
    v128.store(to, i16x8.narrow_i32x4_u(toHalves(low), toHalves(high)))
    found = v128.or(found, v128.or(isTooLarge(low), isTooLarge(high)))
    to += 16
  }
  for (; from < end; from += 4) {
    const value = v128.load_splat<f32>(from)
    store<u16>(to, <u16>i32x4.extract_lane(toHalves(value), 0))
    found = v128.or(found, isTooLarge(value))
    to += 2
  }
  return !v128.any_true(found)
}

export function widenFloat16(from: usize, count: usize, to: usize): void {
  const end = from + (count << 1)
  const whole = from + ((count & ~7) << 1)
  for (; from < whole; from += 16) {
    const halves = v128.load(from)
    v128.store(to, fromFloat16(i32x4.extend_low_i16x8_s(halves)))
    v128.store(to, fromFloat16(i32x4.extend_high_i16x8_s(halves)), 16)
    to += 32
  }
  for (; from < end; from += 2) {
    store<f32>(to, f32x4.extract_lane(fromFloat16(i32x4.splat(load<i16>(from))), 0))
    to += 4
  }
}

// @ts-ignore: decorator
@inline
function notFinite(bits: v128): v128 {
  const exponent = i32x4.splat(0x7f800000)
  return i32x4.eq(v128.and(bits, exponent), exponent)
}

/** Whether all of these float32 numbers are finite. */
export function areFinite(x: usize, count: usize): bool {
  const end = x + (count << 2)
  const whole = x + ((count & ~15) << 2)
  let found = i32x4.splat(0)
  for (; x < whole; x += 64) {
    const first = v128.or(notFinite(v128.load(x)), notFinite(v128.load(x, 16)))
    const second = v128.or(notFinite(v128.load(x, 32)), notFinite(v128.load(x, 48)))
    found = v128.or(found, v128.or(first, second))
  }
  for (; x < end; x += 4) found = v128.or(found, notFinite(i32x4.splat(load<i32>(x))))
  return !v128.any_true(found)
}
