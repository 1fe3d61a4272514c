// What happens to queries, keys and values between their products and attention: norms, rotation, scaling; keys and
// values go to their slots.

import { keep } from './pages'
import { normRow } from './rows'

/** What is the same for all rows of a layer. */
@unmanaged
export class RotatedHeads {
  numHeads: i32
  numKvHeads: i32
  headDim: i32
  rotatedDim: i32 // even: of a head, its first ones
  normed: i32 // what the q and k norms span. 0: there are none, 1: a head, 2: the whole projection
  qNorm: usize
  kNorm: usize
  epsilon: f32
  clip: f32 // Infinity: none
  scale: f32 // of the queries
  pageOffset: usize // from a page's address to this layer's part
  keptLog2: usize // bytes of a number in a page, as a power of two
}

/** Norms and rotates queries and keys in place; queries are scaled, keys and values go to their slots. */
@unmanaged
export class Rotation {
  op: i32
  heads: RotatedHeads
  x: usize // rows of [q | k | v]
  xStride: usize
  rows: i32
  tables: usize // per row rotatedDim / 2 cosines, then as many sines
  places: usize // per row: address of the page, slot in it
}

// @ts-ignore: decorator
@inline
function clipRow(x: usize, width: usize, clip: f32): void {
  for (let i: usize = 0; i < width; i += 4) store<f32>(x + i, max(min(load<f32>(x + i), clip), -clip))
}

/** (a, b) → (a·cos - b·sin, b·cos + a·sin) · scale of the two halves of `rotated` bytes. */
export function rotateHead(x: usize, half: usize, tables: usize, scale: f32): void {
  const factor = f32x4.splat(scale)
  const whole = half & ~15
  for (let i: usize = 0; i < whole; i += 16) {
    const cos = v128.load(tables + i)
    const sin = v128.load(tables + half + i)
    const a = v128.load(x + i)
    const b = v128.load(x + half + i)
    v128.store(x + i, f32x4.mul(factor, f32x4.sub(f32x4.mul(a, cos), f32x4.mul(b, sin))))
    v128.store(x + half + i, f32x4.mul(factor, f32x4.add(f32x4.mul(b, cos), f32x4.mul(a, sin))))
  }
  for (let i = whole; i < half; i += 4) {
    const cos = load<f32>(tables + i)
    const sin = load<f32>(tables + half + i)
    const a = load<f32>(x + i)
    const b = load<f32>(x + half + i)
    store<f32>(x + i, scale * (a * cos - b * sin))
    store<f32>(x + half + i, scale * (b * cos + a * sin))
  }
}

// @ts-ignore: decorator
@inline
export function scaleRow(x: usize, end: usize, scale: f32): void {
  for (; x < end; x += 4) store<f32>(x, load<f32>(x) * scale)
}

/** Rotates the first dimensions of each head, scales all. */
function rotateHeads(x: usize, heads: i32, p: RotatedHeads, tables: usize, scale: f32): void {
  const width = <usize>p.headDim << 2
  const rotated = <usize>p.rotatedDim << 2
  for (let head = 0; head < heads; head++) {
    rotateHead(x, rotated >> 1, tables, scale)
    scaleRow(x + rotated, x + width, scale)
    x += width
  }
}

function normHeads(p: RotatedHeads, x: usize, heads: i32, weight: usize): void {
  if (p.normed == 2) normRow(x, heads * p.headDim, weight, p.epsilon, x)
  if (p.normed != 1) return
  for (let head = 0; head < heads; head++) {
    normRow(x, p.headDim, weight, p.epsilon, x)
    x += <usize>p.headDim << 2
  }
}

export function rotate(p: Rotation): void {
  const heads = p.heads
  const width = <usize>heads.headDim << 2
  const kvWidth = <usize>heads.numKvHeads * width
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    const q = p.x + row * p.xStride
    const k = q + <usize>heads.numHeads * width
    const v = k + kvWidth
    normHeads(heads, q, heads.numHeads, heads.qNorm)
    normHeads(heads, k, heads.numKvHeads, heads.kNorm)
    if (heads.clip < Infinity) clipRow(q, v + kvWidth - q, heads.clip)
    const tables = p.tables + row * (<usize>heads.rotatedDim << 2)
    rotateHeads(q, heads.numHeads, heads, tables, heads.scale)
    rotateHeads(k, heads.numKvHeads, heads, tables, 1)
    const place = p.places + (row << 3)
    const page = <usize>load<i32>(place) + heads.pageOffset
    const headDim = <usize>heads.headDim
    keep(k, v, <usize>heads.numKvHeads, headDim, headDim, page, <usize>load<i32>(place, 4), heads.keptLog2)
  }
}
