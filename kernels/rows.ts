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

/** y = activation(first half of x, second half) · weight, and y rounded (into `q`, where blocks > 0). */
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
  activation: i32
  alpha: f32 // of CLAMPED
  limit: f32 // of CLAMPED
}

const SILU: i32 = 0
const GELU: i32 = 1

/** h = x + delta, n = h / rms(h) · weight, and n rounded. Rows of h and n lie one after the other, `width` float32 each. */
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
  xStride: usize
}

/**
 * Rows of y as sums of rows of x, in the order of a list of places. An entry with NEXT_GROUP set begins a new group: the
 * rows of a group are added first, then the groups; the first row of a group is copied, not added to zero.
 */
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

const NEXT_GROUP: i32 = i32.MIN_VALUE

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

/** g · sigmoid(x) */
// @ts-ignore: decorator
@inline
function gate(g: v128, x: v128): v128 {
  return f32x4.div(g, f32x4.add(f32x4.splat(1), exp(f32x4.neg(x))))
}

/** y = silu(g) · u · weight */
// @ts-ignore: decorator
@inline
function siluRow(x: usize, width: usize, weight: v128, y: usize): void {
  for (let i: usize = 0; i < width; i += 16) {
    const g = v128.load(x + i)
    v128.store(y + i, f32x4.mul(f32x4.mul(gate(g, g), v128.load(x + width + i)), weight))
  }
}

/** y = gelu(g) · u · weight: half of g · (1 + tanh(a)) is g · sigmoid(2a), a = √(2/π) · (g + 0.044715 · g³). */
function geluRow(x: usize, width: usize, weight: v128, y: usize): void {
  const linear = f32x4.splat(1.5957691216057308)
  const cubic = f32x4.splat(0.044715)
  for (let i: usize = 0; i < width; i += 16) {
    const g = v128.load(x + i)
    const inner = f32x4.add(g, f32x4.mul(cubic, f32x4.mul(g, f32x4.mul(g, g))))
    const active = gate(g, f32x4.mul(linear, inner))
    v128.store(y + i, f32x4.mul(f32x4.mul(active, v128.load(x + width + i)), weight))
  }
}

/** g = min(g, limit), u = clamp(u, ±limit): y = g · sigmoid(alpha · g) · (u + 1) · weight */
function clampedRow(x: usize, p: Gated, width: usize, weight: v128, y: usize): void {
  const alpha = f32x4.splat(p.alpha)
  const most = f32x4.splat(p.limit)
  const least = f32x4.neg(most)
  for (let i: usize = 0; i < width; i += 16) {
    const g = f32x4.min(v128.load(x + i), most)
    const u = f32x4.max(f32x4.min(v128.load(x + width + i), most), least)
    const active = gate(g, f32x4.mul(alpha, g))
    v128.store(y + i, f32x4.mul(f32x4.mul(active, f32x4.add(u, f32x4.splat(1))), weight))
  }
}

export function gated(p: Gated): void {
  const width = (<usize>p.inner) << 2
  for (let row = 0; row < p.rows; row++) {
    const x = p.x + <usize>row * p.xStride
    const y = p.y + <usize>row * p.yStride
    const weight = v128.load_splat<f32>(p.rowWeights + ((<usize>row) << 2))
    if (p.activation == SILU) siluRow(x, width, weight, y)
    else if (p.activation == GELU) geluRow(x, width, weight, y)
    else clampedRow(x, p, width, weight, y)
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
    let h = p.x + row * p.xStride
    if (p.delta != 0) {
      addRow(h, p.delta + row * p.deltaStride, p.width, p.h + row * stride)
      h = p.h + row * stride
    }
    const n = p.n + row * stride
    normRow(h, p.width, p.weight, p.epsilon, n)
    if (p.blocks > 0) quantiseRow(n, p.blocks, p.q + row * p.qStride)
  }
}

/** Sixteen columns at once: the list is short, and read again for each. */
// @ts-ignore: decorator
@inline
function sumColumns(p: Sum, from: usize, end: usize, column: usize, y: usize): void {
  const none = f32x4.splat(0)
  let s0 = none, s1 = none, s2 = none, s3 = none
  let g0 = none, g1 = none, g2 = none, g3 = none
  let groups = 0
  for (let at = from; at < end; at += 4) {
    const entry = load<i32>(at)
    const x = p.x + <usize>(entry & ~NEXT_GROUP) * p.xStride + column
    if (at == from || entry < 0) {
      if (groups == 1) {
        s0 = g0
        s1 = g1
        s2 = g2
        s3 = g3
      } else if (groups > 1) {
        s0 = f32x4.add(s0, g0)
        s1 = f32x4.add(s1, g1)
        s2 = f32x4.add(s2, g2)
        s3 = f32x4.add(s3, g3)
      }
      groups++
      g0 = v128.load(x)
      g1 = v128.load(x, 16)
      g2 = v128.load(x, 32)
      g3 = v128.load(x, 48)
    } else {
      g0 = f32x4.add(g0, v128.load(x))
      g1 = f32x4.add(g1, v128.load(x, 16))
      g2 = f32x4.add(g2, v128.load(x, 32))
      g3 = f32x4.add(g3, v128.load(x, 48))
    }
  }
  const isOne = groups == 1
  v128.store(y, isOne ? g0 : f32x4.add(s0, g0))
  v128.store(y, isOne ? g1 : f32x4.add(s1, g1), 16)
  v128.store(y, isOne ? g2 : f32x4.add(s2, g2), 32)
  v128.store(y, isOne ? g3 : f32x4.add(s3, g3), 48)
}

/** One column of a width that is no multiple of sixteen. */
function sumColumn(p: Sum, from: usize, end: usize, column: usize, y: usize): void {
  let sum: f32 = 0
  let group: f32 = 0
  let groups = 0
  for (let at = from; at < end; at += 4) {
    const entry = load<i32>(at)
    const value = load<f32>(p.x + <usize>(entry & ~NEXT_GROUP) * p.xStride + column)
    if (at == from || entry < 0) {
      if (groups > 0) sum = groups == 1 ? group : sum + group
      groups++
      group = value
    } else {
      group += value
    }
  }
  store<f32>(y, groups == 1 ? group : sum + group)
}

export function sum(p: Sum): void {
  const stride = <usize>p.width << 2
  const whole = stride & ~63
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    const y = p.y + row * stride
    const from = p.list + (<usize>load<i32>(p.starts + (row << 2)) << 2)
    const end = p.list + (<usize>load<i32>(p.starts + (row << 2), 4) << 2)
    if (from == end) {
      memory.fill(y, 0, stride)
      continue
    }
    for (let column: usize = 0; column < whole; column += 64) sumColumns(p, from, end, column, y + column)
    for (let column = whole; column < stride; column += 4) sumColumn(p, from, end, column, y + column)
  }
}
