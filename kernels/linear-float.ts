// Products x · Wᵀ of float weights, in the tiles of `linear.ts` and with its invariants. Weights in float16 are widened where
// they are read: what is computed has the bits of the same numbers in float32.

import { Product, rowAt, start } from './linear'
import { fromFiniteFloat16 } from './widening'

/** Bytes of a tile's 16 weights of an input, as a power of two. */
// @ts-ignore: decorator
@inline
function inputLog2(isHalf: bool): usize {
  return isHalf ? 5 : 6
}

/** Eight outputs of a tile (the lower or the upper half) for four rows. */
// @ts-ignore: decorator
@inline
function fourRows(isHalf: bool, p: Product, tile: i32, row: i32, half: usize): void {
  let w = p.weights + ((<usize>tile * <usize>p.blocks) << inputLog2(isHalf)) + (half << (inputLog2(isHalf) - 1))
  const xa = rowAt(p, row), xb = rowAt(p, row + 1), xc = rowAt(p, row + 2), xd = rowAt(p, row + 3)
  const part = <i32>half << 1
  let a0 = start(p, tile, part, row), a1 = start(p, tile, part + 1, row)
  let b0 = start(p, tile, part, row + 1), b1 = start(p, tile, part + 1, row + 1)
  let c0 = start(p, tile, part, row + 2), c1 = start(p, tile, part + 1, row + 2)
  let d0 = start(p, tile, part, row + 3), d1 = start(p, tile, part + 1, row + 3)
  const end = <usize>p.blocks << 2
  for (let at: usize = 0; at < end; at += 4) {
    const w0 = isHalf ? fromFiniteFloat16(v128.load_ext<i16>(w)) : v128.load(w)
    const w1 = isHalf ? fromFiniteFloat16(v128.load_ext<i16>(w, 8)) : v128.load(w, 16)
    let v = v128.load_splat<f32>(xa + at)
    a0 = f32x4.add(a0, f32x4.mul(w0, v))
    a1 = f32x4.add(a1, f32x4.mul(w1, v))
    v = v128.load_splat<f32>(xb + at)
    b0 = f32x4.add(b0, f32x4.mul(w0, v))
    b1 = f32x4.add(b1, f32x4.mul(w1, v))
    v = v128.load_splat<f32>(xc + at)
    c0 = f32x4.add(c0, f32x4.mul(w0, v))
    c1 = f32x4.add(c1, f32x4.mul(w1, v))
    v = v128.load_splat<f32>(xd + at)
    d0 = f32x4.add(d0, f32x4.mul(w0, v))
    d1 = f32x4.add(d1, f32x4.mul(w1, v))
    w += 1 << inputLog2(isHalf)
  }
  let y = p.y + <usize>row * p.yStride + (<usize>tile << 6) + (half << 5)
  v128.store(y, a0)
  v128.store(y, a1, 16)
  y += p.yStride
  v128.store(y, b0)
  v128.store(y, b1, 16)
  y += p.yStride
  v128.store(y, c0)
  v128.store(y, c1, 16)
  y += p.yStride
  v128.store(y, d0)
  v128.store(y, d1, 16)
}

/** All 16 outputs of a tile for one row. */
// @ts-ignore: decorator
@inline
function oneRow(isHalf: bool, p: Product, tile: i32, row: i32): void {
  let w = p.weights + ((<usize>tile * <usize>p.blocks) << inputLog2(isHalf))
  let x = rowAt(p, row)
  const end = x + (<usize>p.blocks << 2)
  let f0 = start(p, tile, 0, row), f1 = start(p, tile, 1, row), f2 = start(p, tile, 2, row), f3 = start(p, tile, 3, row)
  for (; x < end; x += 4) {
    const v = v128.load_splat<f32>(x)
    const w0 = isHalf ? fromFiniteFloat16(v128.load_ext<i16>(w)) : v128.load(w)
    f0 = f32x4.add(f0, f32x4.mul(w0, v))
    const w1 = isHalf ? fromFiniteFloat16(v128.load_ext<i16>(w, 8)) : v128.load(w, 16)
    f1 = f32x4.add(f1, f32x4.mul(w1, v))
    const w2 = isHalf ? fromFiniteFloat16(v128.load_ext<i16>(w, 16)) : v128.load(w, 32)
    f2 = f32x4.add(f2, f32x4.mul(w2, v))
    const w3 = isHalf ? fromFiniteFloat16(v128.load_ext<i16>(w, 24)) : v128.load(w, 48)
    f3 = f32x4.add(f3, f32x4.mul(w3, v))
    w += 1 << inputLog2(isHalf)
  }
  const y = p.y + <usize>row * p.yStride + (<usize>tile << 6)
  v128.store(y, f0)
  v128.store(y, f1, 16)
  v128.store(y, f2, 32)
  v128.store(y, f3, 48)
}

// @ts-ignore: decorator
@inline
function linear(isHalf: bool, p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 4 <= p.rows; row += 4) {
      fourRows(isHalf, p, tile, row, 0)
      fourRows(isHalf, p, tile, row, 1)
    }
    for (; row < p.rows; row++) oneRow(isHalf, p, tile, row)
  }
}

/** Float weights: here `blocks` counts inputs. */
export function linearFloat(p: Product): void {
  linear(false, p)
}

/** The same in float16. */
export function linearFloat16(p: Product): void {
  linear(true, p)
}
