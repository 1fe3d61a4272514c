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

/** The nearest float16, the even one at a tie; what is beyond the largest, and what is no number, is the largest. */
export function toFloat16(value: f32): u16 {
  const bits = reinterpret<u32>(value)
  const sign = (bits >> 16) & 0x8000
  const size = bits & 0x7fffffff
  if (size >= 0x477ff000) return <u16>(sign | 0x7bff)
  // Below 2^-14 they are multiples of 2^-24; 1024 of these are the smallest number with an exponent.
  if (size < 0x38800000) return <u16>(sign | <u32>nearest<f32>(reinterpret<f32>(size) * 16777216))
  return <u16>(sign | ((size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13))
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
