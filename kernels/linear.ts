// Products x · Wᵀ in SIMD. Weights lie in tiles of 16 outputs; a tile holds, per block of 32 inputs, 16 scales of two
// bytes and then pairs of inputs: for each pair the 16 outputs' two weights side by side.
//
//   int8  a pair takes 32 bytes: output, then input
//   int4  a pair takes 16 bytes: 16-bit word i holds the levels of (output i/2, +4, +8, +12), input i%2; low nibble first
//   f32   no blocks, no scales: per input 16 floats (`linear-float.ts`)
//   f16   the same in float16
//
// Scales are bfloat16 numbers; in GROUPS one serves several blocks and stands in front of the first; in HALVES they are
// float16 numbers. The arithmetic is the same.
//
// Activations are 16-bit integers with a scale per block, so a block's dot product is exact in int32.
//
// Invariants
//   L1  An output is a function of its row and its weights: blocks are added in ascending order, in the same operations
//       whatever the number of rows, the thread or the processor (WebAssembly has neither fused nor reordered sums).
//   L2  At most a dozen values live in an inner loop: the compiler hoists loads, and what spills costs twice the time.

const PAIRS: usize = 16 // of a block
const SCALE_BYTES: usize = 32
const BLOCKS: i32 = 0 // layouts of scales
const GROUPS: i32 = 1
const HALVES: i32 = 2

/** Where a product finds its operands; rows are gathered by `rowList`, results lie one after the other. */
@unmanaged
export class Product {
  op: i32
  weights: usize
  blocks: i32 // f32, f16: inputs
  tiles: i32
  x: usize
  xStride: usize // bytes of a row
  rowList: usize // i32 each
  rows: i32
  y: usize
  yStride: usize
  bias: usize // 0: none; else a float32 per output of these tiles
  rowWeights: usize // 0: none; else what the bias is multiplied with, per row
  tileBytes: usize
  group: i32 // GROUPS: blocks that share a scale
}

// @ts-ignore: decorator
@inline
function pairBytes(bits: i32): usize {
  return bits == 8 ? 32 : 16
}

/** Bytes of all weights that a product reads. */
export function weightBytes(p: Product): usize {
  return <usize>p.tiles * p.tileBytes
}

// @ts-ignore: decorator
@inline
function nibbles(words: v128, part: i32): v128 {
  if (part == 3) return i16x8.shr_u(words, 12)
  return v128.and(part == 0 ? words : i16x8.shr_u(words, 4 * part), i16x8.splat(15))
}

// @ts-ignore: decorator
@inline
function dot(sum: v128, weights: v128, x: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(weights, x))
}

// @ts-ignore: decorator
@inline
function scaled(sum: v128, dots: v128, scales: v128, xScale: v128): v128 {
  return f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(scales, xScale)))
}

/** Four scales as float32. A float16's exponent is shifted into place, then its bias set right: exact, also below 2^-14. */
// @ts-ignore: decorator
@inline
function scalesAt(layout: i32, w: usize): v128 {
  if (layout != HALVES) return i32x4.shl(v128.load_ext<u16>(w), 16)
  const shifted = v128.and(i32x4.shl(v128.load_ext<i16>(w), 13), i32x4.splat(0x8fffe000))
  return f32x4.mul(shifted, f32x4.splat(reinterpret<f32>(0x77800000))) // 2^112
}

// @ts-ignore: decorator
@inline
export function start(p: Product, tile: i32, part: usize, row: i32): v128 {
  if (p.bias == 0) return f32x4.splat(0)
  const bias = v128.load(p.bias + (<usize>tile << 6) + (part << 4))
  return p.rowWeights == 0 ? bias : f32x4.mul(bias, v128.load_splat<f32>(p.rowWeights + (<usize>row << 2)))
}

// @ts-ignore: decorator
@inline
export function rowAt(p: Product, i: i32): usize {
  return p.x + <usize>load<i32>(p.rowList + (<usize>i << 2)) * p.xStride
}

/** What every sum of a block starts from: int4 levels are stored with 8 added. */
// @ts-ignore: decorator
@inline
function origin(bits: i32, offsets: usize): v128 {
  return bits == 8 ? i32x4.splat(0) : v128.load_splat<u32>(offsets)
}

/** All 16 outputs of a tile for one row. */
// @ts-ignore: decorator
@inline
function oneRow(bits: i32, layout: i32, p: Product, tile: i32, row: i32): void {
  let w = p.weights + <usize>tile * p.tileBytes
  let scalesFrom = w
  let left = 0
  let x = rowAt(p, row)
  let meta = x + (<usize>p.blocks << 6)
  const offsets = <usize>p.blocks << 2
  let f0 = start(p, tile, 0, row), f1 = start(p, tile, 1, row), f2 = start(p, tile, 2, row), f3 = start(p, tile, 3, row)
  for (let block = 0; block < p.blocks; block++) {
    if (layout != GROUPS || left == 0) {
      scalesFrom = w
      w += SCALE_BYTES
      if (layout == GROUPS) left = p.group
    }
    if (layout == GROUPS) left--
    let s0 = origin(bits, meta + offsets), s1 = s0, s2 = s0, s3 = s0
    const end = w + PAIRS * pairBytes(bits)
    do {
      const v = v128.load_splat<u32>(x)
      if (bits == 8) {
        s0 = dot(s0, v128.load_ext<i8>(w), v)
        s1 = dot(s1, v128.load_ext<i8>(w, 8), v)
        s2 = dot(s2, v128.load_ext<i8>(w, 16), v)
        s3 = dot(s3, v128.load_ext<i8>(w, 24), v)
      } else {
        const words = v128.load(w)
        s0 = dot(s0, nibbles(words, 0), v)
        s1 = dot(s1, nibbles(words, 1), v)
        s2 = dot(s2, nibbles(words, 2), v)
        s3 = dot(s3, nibbles(words, 3), v)
      }
      w += pairBytes(bits)
      x += 4
    } while (w < end)
    const scale = v128.load_splat<f32>(meta)
    f0 = scaled(f0, s0, scalesAt(layout, scalesFrom), scale)
    f1 = scaled(f1, s1, scalesAt(layout, scalesFrom + 8), scale)
    f2 = scaled(f2, s2, scalesAt(layout, scalesFrom + 16), scale)
    f3 = scaled(f3, s3, scalesAt(layout, scalesFrom + 24), scale)
    meta += 4
  }
  const y = p.y + <usize>row * p.yStride + (<usize>tile << 6)
  v128.store(y, f0)
  v128.store(y, f1, 16)
  v128.store(y, f2, 32)
  v128.store(y, f3, 48)
}

/** All 16 outputs of a tile for two rows. */
// @ts-ignore: decorator
@inline
function twoRows(bits: i32, layout: i32, p: Product, tile: i32, row: i32): void {
  let w = p.weights + <usize>tile * p.tileBytes
  let scalesFrom = w
  let left = 0
  let xa = rowAt(p, row), xb = rowAt(p, row + 1)
  let ma = xa + (<usize>p.blocks << 6), mb = xb + (<usize>p.blocks << 6)
  const offsets = <usize>p.blocks << 2
  let fa0 = start(p, tile, 0, row), fa1 = start(p, tile, 1, row), fa2 = start(p, tile, 2, row), fa3 = start(p, tile, 3, row)
  let fb0 = start(p, tile, 0, row + 1), fb1 = start(p, tile, 1, row + 1)
  let fb2 = start(p, tile, 2, row + 1), fb3 = start(p, tile, 3, row + 1)
  for (let block = 0; block < p.blocks; block++) {
    if (layout != GROUPS || left == 0) {
      scalesFrom = w
      w += SCALE_BYTES
      if (layout == GROUPS) left = p.group
    }
    if (layout == GROUPS) left--
    let a0 = origin(bits, ma + offsets), a1 = a0, a2 = a0, a3 = a0
    let b0 = origin(bits, mb + offsets), b1 = b0, b2 = b0, b3 = b0
    const end = w + PAIRS * pairBytes(bits)
    do {
      const va = v128.load_splat<u32>(xa)
      const vb = v128.load_splat<u32>(xb)
      const words = bits == 8 ? v128.load_ext<i8>(w) : v128.load(w)
      const w0 = bits == 8 ? words : nibbles(words, 0)
      a0 = dot(a0, w0, va)
      b0 = dot(b0, w0, vb)
      const w1 = bits == 8 ? v128.load_ext<i8>(w, 8) : nibbles(words, 1)
      a1 = dot(a1, w1, va)
      b1 = dot(b1, w1, vb)
      const w2 = bits == 8 ? v128.load_ext<i8>(w, 16) : nibbles(words, 2)
      a2 = dot(a2, w2, va)
      b2 = dot(b2, w2, vb)
      const w3 = bits == 8 ? v128.load_ext<i8>(w, 24) : nibbles(words, 3)
      a3 = dot(a3, w3, va)
      b3 = dot(b3, w3, vb)
      w += pairBytes(bits)
      xa += 4
      xb += 4
    } while (w < end)
    const scaleA = v128.load_splat<f32>(ma), scaleB = v128.load_splat<f32>(mb)
    let scales = scalesAt(layout, scalesFrom)
    fa0 = scaled(fa0, a0, scales, scaleA)
    fb0 = scaled(fb0, b0, scales, scaleB)
    scales = scalesAt(layout, scalesFrom + 8)
    fa1 = scaled(fa1, a1, scales, scaleA)
    fb1 = scaled(fb1, b1, scales, scaleB)
    scales = scalesAt(layout, scalesFrom + 16)
    fa2 = scaled(fa2, a2, scales, scaleA)
    fb2 = scaled(fb2, b2, scales, scaleB)
    scales = scalesAt(layout, scalesFrom + 24)
    fa3 = scaled(fa3, a3, scales, scaleA)
    fb3 = scaled(fb3, b3, scales, scaleB)
    ma += 4
    mb += 4
  }
  let y = p.y + <usize>row * p.yStride + (<usize>tile << 6)
  v128.store(y, fa0)
  v128.store(y, fa1, 16)
  v128.store(y, fa2, 32)
  v128.store(y, fa3, 48)
  y += p.yStride
  v128.store(y, fb0)
  v128.store(y, fb1, 16)
  v128.store(y, fb2, 32)
  v128.store(y, fb3, 48)
}

// Each is a function of its own: the compiler keeps the values of an inner loop in registers only where it is alone.

export function oneRowInt8(p: Product, tile: i32, row: i32): void {
  oneRow(8, BLOCKS, p, tile, row)
}

export function twoRowsInt8(p: Product, tile: i32, row: i32): void {
  twoRows(8, BLOCKS, p, tile, row)
}

export function linearInt8(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 2 <= p.rows; row += 2) twoRowsInt8(p, tile, row)
    if (row < p.rows) oneRowInt8(p, tile, row)
  }
}

export function oneRowInt4(p: Product, tile: i32, row: i32): void {
  oneRow(4, BLOCKS, p, tile, row)
}

export function twoRowsInt4(p: Product, tile: i32, row: i32): void {
  twoRows(4, BLOCKS, p, tile, row)
}

export function linearInt4(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 2 <= p.rows; row += 2) twoRowsInt4(p, tile, row)
    if (row < p.rows) oneRowInt4(p, tile, row)
  }
}

export function oneRowInt8Groups(p: Product, tile: i32, row: i32): void {
  oneRow(8, GROUPS, p, tile, row)
}

export function twoRowsInt8Groups(p: Product, tile: i32, row: i32): void {
  twoRows(8, GROUPS, p, tile, row)
}

export function linearInt8Groups(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 2 <= p.rows; row += 2) twoRowsInt8Groups(p, tile, row)
    if (row < p.rows) oneRowInt8Groups(p, tile, row)
  }
}

export function oneRowInt4Groups(p: Product, tile: i32, row: i32): void {
  oneRow(4, GROUPS, p, tile, row)
}

export function twoRowsInt4Groups(p: Product, tile: i32, row: i32): void {
  twoRows(4, GROUPS, p, tile, row)
}

export function linearInt4Groups(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 2 <= p.rows; row += 2) twoRowsInt4Groups(p, tile, row)
    if (row < p.rows) oneRowInt4Groups(p, tile, row)
  }
}

export function oneRowInt8Halves(p: Product, tile: i32, row: i32): void {
  oneRow(8, HALVES, p, tile, row)
}

export function twoRowsInt8Halves(p: Product, tile: i32, row: i32): void {
  twoRows(8, HALVES, p, tile, row)
}

export function linearInt8Halves(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 2 <= p.rows; row += 2) twoRowsInt8Halves(p, tile, row)
    if (row < p.rows) oneRowInt8Halves(p, tile, row)
  }
}

export function oneRowInt4Halves(p: Product, tile: i32, row: i32): void {
  oneRow(4, HALVES, p, tile, row)
}

export function twoRowsInt4Halves(p: Product, tile: i32, row: i32): void {
  twoRows(4, HALVES, p, tile, row)
}

export function linearInt4Halves(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 2 <= p.rows; row += 2) twoRowsInt4Halves(p, tile, row)
    if (row < p.rows) oneRowInt4Halves(p, tile, row)
  }
}
