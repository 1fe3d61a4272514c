// What is done to each row between products: sums, norms, the gated activation, rounding to 16 bits per block.
//
// Invariants
//   R1  A row's result is a function of that row; elements are processed in ascending order, four at a time.

import { exp, largest, total } from './math'

/** Rounds rows of float32 to 16-bit integers: [blocks · 32] integers, a scale per block, and -8 · Σ integers per block. */
@unmanaged
export class Quantise {
  op: i32
  x: usize
  xStride: usize
  blocks: i32
  rows: i32
  y: usize
  yStride: usize
}

/** y = silu(first half of x) · second half · weight, and y rounded (into `q`, where blocks > 0). */
@unmanaged
export class Gated {
  op: i32
  x: usize
  xStride: usize
  inner: i32
  rows: i32
  y: usize // [rows, inner rounded up to 4] float32
  yStride: usize
  rowWeights: usize
  blocks: i32
  q: usize
  qStride: usize
}

/** h = x + delta, n = h / rms(h) · weight, and n rounded. Rows lie one after the other, `width` float32 each. */
@unmanaged
export class Norm {
  op: i32
  x: usize
  delta: usize // 0: none
  h: usize // 0: not wanted
  rows: i32
  width: i32
  weight: usize
  epsilon: f32
  n: usize
  blocks: i32 // 0: n is not rounded
  q: usize
  qStride: usize
  deltaStride: usize
}

/** Each row of y as the sum of rows of x, in the order of the list; the first is copied. */
@unmanaged
export class Sum {
  op: i32
  x: usize
  xStride: usize
  width: i32
  list: usize // i32: places of rows in x
  starts: usize // i32 [rows + 1]: where a row's part of the list begins
  rows: i32
  y: usize
}

const LARGEST: f32 = 32767

export function quantiseRow(x: usize, blocks: i32, y: usize): void {
  let scales = y + ((<usize>blocks) << 6)
  const offsets = (<usize>blocks) << 2
  for (let block = 0; block < blocks; block++) {
    let most = f32x4.splat(0)
    for (let i: usize = 0; i < 128; i += 16) most = f32x4.max(most, f32x4.abs(v128.load(x + i)))
    const peak = largest(most)
    const inverse = f32x4.splat(peak == 0 ? 0 : LARGEST / peak)
    let sums = i32x4.splat(0)
    for (let i: usize = 0; i < 128; i += 32) {
      const low = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x + i), inverse)))
      const high = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x + i, 16), inverse)))
      sums = i32x4.add(sums, i32x4.add(low, high))
      v128.store(y + (i >> 1), i16x8.narrow_i32x4_s(low, high))
    }
    const sum =
      i32x4.extract_lane(sums, 0) +
      i32x4.extract_lane(sums, 1) +
      i32x4.extract_lane(sums, 2) +
      i32x4.extract_lane(sums, 3)
    store<f32>(scales, peak / LARGEST)
    store<i32>(scales + offsets, -8 * sum)
    x += 128
    y += 64
    scales += 4
  }
}

export function quantise(p: Quantise): void {
  for (let row = 0; row < p.rows; row++)
    quantiseRow(p.x + <usize>row * p.xStride, p.blocks, p.y + <usize>row * p.yStride)
}

export function gated(p: Gated): void {
  const one = f32x4.splat(1)
  const width = (<usize>p.inner) << 2
  for (let row = 0; row < p.rows; row++) {
    const gate = p.x + <usize>row * p.xStride
    const y = p.y + <usize>row * p.yStride
    const weight = v128.load_splat<f32>(p.rowWeights + ((<usize>row) << 2))
    for (let i: usize = 0; i < width; i += 16) {
      const g = v128.load(gate + i)
      const active = f32x4.div(g, f32x4.add(one, exp(f32x4.neg(g))))
      v128.store(y + i, f32x4.mul(f32x4.mul(active, v128.load(gate + width + i)), weight))
    }
    if (p.blocks > 0) quantiseRow(y, p.blocks, p.q + <usize>row * p.qStride)
  }
}

export function normRow(x: usize, width: i32, weight: usize, epsilon: f32, y: usize): void {
  let squares = f32x4.splat(0)
  const whole = (<usize>(width & ~3)) << 2
  const end = (<usize>width) << 2
  for (let i: usize = 0; i < whole; i += 16) squares = f32x4.add(squares, f32x4.mul(v128.load(x + i), v128.load(x + i)))
  let sum = total(squares)
  for (let i = whole; i < end; i += 4) sum += load<f32>(x + i) * load<f32>(x + i)
  const factor: f32 = <f32>1 / <f32>Mathf.sqrt(sum / <f32>width + epsilon)
  const factors = f32x4.splat(factor)
  for (let i: usize = 0; i < whole; i += 16) {
    v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(x + i), factors), v128.load(weight + i)))
  }
  for (let i = whole; i < end; i += 4) store<f32>(y + i, load<f32>(x + i) * factor * load<f32>(weight + i))
}

function addRow(x: usize, delta: usize, width: i32, y: usize): void {
  const whole = (<usize>(width & ~3)) << 2
  const end = (<usize>width) << 2
  for (let i: usize = 0; i < whole; i += 16) v128.store(y + i, f32x4.add(v128.load(x + i), v128.load(delta + i)))
  for (let i = whole; i < end; i += 4) store<f32>(y + i, load<f32>(x + i) + load<f32>(delta + i))
}

export function norm(p: Norm): void {
  const stride = (<usize>p.width) << 2
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    let h = p.x + row * stride
    if (p.delta != 0) {
      addRow(h, p.delta + row * p.deltaStride, p.width, p.h + row * stride)
      h = p.h + row * stride
    }
    const n = p.n + row * stride
    normRow(h, p.width, p.weight, p.epsilon, n)
    if (p.blocks > 0) quantiseRow(n, p.blocks, p.q + row * p.qStride)
  }
}

export function sum(p: Sum): void {
  const stride = (<usize>p.width) << 2
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    const y = p.y + row * stride
    const from = load<i32>(p.starts + (row << 2))
    const end = load<i32>(p.starts + (row << 2), 4)
    if (from == end) {
      memory.fill(y, 0, stride)
      continue
    }
    memory.copy(y, p.x + <usize>load<i32>(p.list + ((<usize>from) << 2)) * p.xStride, stride)
    for (let i = from + 1; i < end; i++)
      addRow(y, p.x + <usize>load<i32>(p.list + ((<usize>i) << 2)) * p.xStride, p.width, y)
  }
}
