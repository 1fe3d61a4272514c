// Products x · Wᵀ of float weights, in the tiles of `linear.ts` and with its invariants.

import { Product, rowAt, start } from './linear'

/** Eight outputs of a tile (the lower or the upper half) for four rows. */
// @ts-ignore: decorator
@inline
function fourFloatRows(p: Product, tile: i32, row: i32, half: usize): void {
  let w = p.weights + ((<usize>tile * <usize>p.blocks) << 6) + (half << 5)
  const xa = rowAt(p, row), xb = rowAt(p, row + 1), xc = rowAt(p, row + 2), xd = rowAt(p, row + 3)
  const part = <i32>half << 1
  let a0 = start(p, tile, part, row), a1 = start(p, tile, part + 1, row)
  let b0 = start(p, tile, part, row + 1), b1 = start(p, tile, part + 1, row + 1)
  let c0 = start(p, tile, part, row + 2), c1 = start(p, tile, part + 1, row + 2)
  let d0 = start(p, tile, part, row + 3), d1 = start(p, tile, part + 1, row + 3)
  const end = <usize>p.blocks << 2
  for (let at: usize = 0; at < end; at += 4) {
    const w0 = v128.load(w), w1 = v128.load(w, 16)
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
    w += 64
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
function oneFloatRow(p: Product, tile: i32, row: i32): void {
  let w = p.weights + ((<usize>tile * <usize>p.blocks) << 6)
  let x = rowAt(p, row)
  const end = x + (<usize>p.blocks << 2)
  let f0 = start(p, tile, 0, row), f1 = start(p, tile, 1, row), f2 = start(p, tile, 2, row), f3 = start(p, tile, 3, row)
  for (; x < end; x += 4) {
    const v = v128.load_splat<f32>(x)
    f0 = f32x4.add(f0, f32x4.mul(v128.load(w), v))
    f1 = f32x4.add(f1, f32x4.mul(v128.load(w, 16), v))
    f2 = f32x4.add(f2, f32x4.mul(v128.load(w, 32), v))
    f3 = f32x4.add(f3, f32x4.mul(v128.load(w, 48), v))
    w += 64
  }
  const y = p.y + <usize>row * p.yStride + (<usize>tile << 6)
  v128.store(y, f0)
  v128.store(y, f1, 16)
  v128.store(y, f2, 32)
  v128.store(y, f3, 48)
}

/** Float weights: here `blocks` counts inputs. */
export function linearFloat(p: Product): void {
  for (let tile = 0; tile < p.tiles; tile++) {
    let row = 0
    for (; row + 4 <= p.rows; row += 4) {
      fourFloatRows(p, tile, row, 0)
      fourFloatRows(p, tile, row, 1)
    }
    for (; row < p.rows; row++) oneFloatRow(p, tile, row)
  }
}
