// Weights by rows into tiles of 16 outputs (see `linear.ts`). Rows are whole tiles: who calls fills up the last one.

const TILE_ROWS: usize = 16
const PAIR_BYTES8: usize = 32

/** Eight rows' 16 bytes at x, as words of two inputs: words of the same inputs go side by side, 32 bytes apart. */
// @ts-ignore: decorator
@inline
function turnWords(x: usize, stride: usize, to: usize): void {
  const sign = i8x16.splat(-128) // levels count from zero up, kernels read signed bytes
  const r0 = v128.xor(v128.load(x), sign), r1 = v128.xor(v128.load(x + stride), sign)
  const r2 = v128.xor(v128.load(x + 2 * stride), sign), r3 = v128.xor(v128.load(x + 3 * stride), sign)
  const r4 = v128.xor(v128.load(x + 4 * stride), sign), r5 = v128.xor(v128.load(x + 5 * stride), sign)
  const r6 = v128.xor(v128.load(x + 6 * stride), sign), r7 = v128.xor(v128.load(x + 7 * stride), sign)
  const a0 = lowWords(r0, r1), a1 = highWords(r0, r1), a2 = lowWords(r2, r3), a3 = highWords(r2, r3)
  const a4 = lowWords(r4, r5), a5 = highWords(r4, r5), a6 = lowWords(r6, r7), a7 = highWords(r6, r7)
  const b0 = low32(a0, a2), b1 = high32(a0, a2), b2 = low32(a1, a3), b3 = high32(a1, a3)
  const b4 = low32(a4, a6), b5 = high32(a4, a6), b6 = low32(a5, a7), b7 = high32(a5, a7)
  v128.store(to, low64(b0, b4))
  v128.store(to, high64(b0, b4), 32)
  v128.store(to, low64(b1, b5), 64)
  v128.store(to, high64(b1, b5), 96)
  v128.store(to, low64(b2, b6), 128)
  v128.store(to, high64(b2, b6), 160)
  v128.store(to, low64(b3, b7), 192)
  v128.store(to, high64(b3, b7), 224)
}

// @ts-ignore: decorator
@inline
function lowWords(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
}

// @ts-ignore: decorator
@inline
function highWords(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
}

// @ts-ignore: decorator
@inline
function low32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 4, 1, 5)
}

// @ts-ignore: decorator
@inline
function high32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 2, 6, 3, 7)
}

// @ts-ignore: decorator
@inline
function low64(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 0, 2)
}

// @ts-ignore: decorator
@inline
function high64(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 1, 3)
}

/** Sixteen scales, `stride` bytes apart, as bfloat16 or float16 numbers; they are such numbers. */
// @ts-ignore: decorator
@inline
function putScales(areHalves: bool, scales: usize, stride: usize, to: usize): void {
  for (let i: usize = 0; i < TILE_ROWS; i++) {
    const scale = load<f32>(scales + i * stride)
    const bits = reinterpret<u32>(scale)
    if (!areHalves) store<u16>(to + (i << 1), bits >> 16)
    else {
      const size = reinterpret<u32>(abs(scale) * reinterpret<f32>(0x07800000)) // 2^-112: the bias of float16
      store<u16>(to + (i << 1), ((bits >> 16) & 0x8000) | (size >> 13))
    }
  }
}

/** A block of 16 rows, 32 bytes each. */
// @ts-ignore: decorator
@inline
function turnBlock8(levels: usize, stride: usize, to: usize): void {
  for (let part: usize = 0; part < 32; part += 16) {
    turnWords(levels + part, stride, to + part * (PAIR_BYTES8 >> 1))
    turnWords(levels + part + 8 * stride, stride, to + part * (PAIR_BYTES8 >> 1) + 16)
  }
}

/** Sixteen levels of four rows, 4 · stride bytes apart, as words of four nibbles: those of inputs 0 … 7. */
// @ts-ignore: decorator
@inline
function turnNibbles(shift: i32, levels: usize, stride: usize, to: usize): void {
  const w0 = fourRows(shift, levels, stride), w1 = fourRows(shift, levels + stride, stride)
  const w2 = fourRows(shift, levels + 2 * stride, stride), w3 = fourRows(shift, levels + 3 * stride, stride)
  const a0 = low32(w0, w1), a1 = high32(w0, w1), a2 = low32(w2, w3), a3 = high32(w2, w3)
  v128.store(to, low64(a0, a2))
  v128.store(to, high64(a0, a2), 16)
  v128.store(to, low64(a1, a3), 32)
  v128.store(to, high64(a1, a3), 48)
}

/** Eight inputs (four bytes from `shift` on) of rows 0, 4, 8 and 12: a word each, the first row in the low nibble. */
// @ts-ignore: decorator
@inline
function fourRows(shift: i32, levels: usize, stride: usize): v128 {
  const low = v128.or(spread(shift, levels), i16x8.shl(spread(shift, levels + 4 * stride), 4))
  const high = v128.or(spread(shift, levels + 8 * stride), i16x8.shl(spread(shift, levels + 12 * stride), 4))
  return v128.or(low, i16x8.shl(high, 8))
}

/** Eight nibbles as words. */
// @ts-ignore: decorator
@inline
function spread(shift: i32, levels: usize): v128 {
  const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(levels + shift)))
  return v128.or(v128.and(bytes, i32x4.splat(15)), i32x4.shl(v128.and(bytes, i32x4.splat(240)), 12))
}

/** A block of 16 rows, 16 bytes each. */
// @ts-ignore: decorator
@inline
function turnBlock4(levels: usize, stride: usize, to: usize): void {
  for (let shift = 0; shift < 16; shift += 4) turnNibbles(shift, levels, stride, to + (<usize>shift << 4))
}

// @ts-ignore: decorator
@inline
function turn(
  bits: i32,
  areHalves: bool,
  levels: usize,
  tiles: i32,
  blocks: i32,
  group: i32,
  scales: usize,
  to: usize,
): void {
  const blockBytes: usize = bits == 8 ? 32 : 16
  const stride = <usize>blocks * blockBytes
  const scaleStride = <usize>((blocks + group - 1) / group) << 2
  for (let tile = 0; tile < tiles; tile++) {
    for (let block = 0; block < blocks; block++) {
      if (block % group == 0) {
        putScales(areHalves, scales + (<usize>(block / group) << 2), scaleStride, to)
        to += TILE_ROWS << 1
      }
      if (bits == 8) turnBlock8(levels + <usize>block * blockBytes, stride, to)
      else turnBlock4(levels + <usize>block * blockBytes, stride, to)
      to += blockBytes << 4
    }
    levels += TILE_ROWS * stride
    scales += TILE_ROWS * scaleStride
  }
}

/** Rows of levels [rows, blocks, 32] and their scales [rows, groups] as tiles. */
export function tileInt8(
  areHalves: bool,
  levels: usize,
  tiles: i32,
  blocks: i32,
  group: i32,
  scales: usize,
  to: usize,
): void {
  turn(8, areHalves, levels, tiles, blocks, group, scales, to)
}

/** The same of levels [rows, blocks, 16], two a byte. */
export function tileInt4(
  areHalves: bool,
  levels: usize,
  tiles: i32,
  blocks: i32,
  group: i32,
  scales: usize,
  to: usize,
): void {
  turn(4, areHalves, levels, tiles, blocks, group, scales, to)
}

/** Rows of float32 as tiles [inputs, 16]. */
export function tileFloats(x: usize, tiles: i32, inputs: usize, to: usize): void {
  const stride = inputs << 2
  const whole = (inputs & ~3) << 2
  for (let tile = 0; tile < tiles; tile++) {
    for (let at: usize = 0; at < whole; at += 16) {
      for (let row: usize = 0; row < TILE_ROWS; row += 4) {
        const from = x + row * stride + at
        const r0 = v128.load(from), r1 = v128.load(from + stride)
        const r2 = v128.load(from + 2 * stride), r3 = v128.load(from + 3 * stride)
        const a0 = low32(r0, r1), a1 = high32(r0, r1), a2 = low32(r2, r3), a3 = high32(r2, r3)
        const out = to + (at << 4) + (row << 2)
        v128.store(out, low64(a0, a2))
        v128.store(out, high64(a0, a2), 64)
        v128.store(out, low64(a1, a3), 128)
        v128.store(out, high64(a1, a3), 192)
      }
    }
    for (let at = whole; at < stride; at += 4) {
      for (let row: usize = 0; row < TILE_ROWS; row++)
        store<f32>(to + (at << 4) + (row << 2), load<f32>(x + row * stride + at))
    }
    x += TILE_ROWS * stride
    to += TILE_ROWS * stride
  }
}
