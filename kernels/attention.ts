// Attention over pages of keys and values (`pages.ts`).
//
// A row sees the slots from its `first` to its `prefix` and those of its list, which rise. What it does not see weighs
// exactly zero. A sink is a score of its own behind the slots: it weighs, and has no value.
//
// Page after page for all queries, so that a page is read once from memory: scores of all slots, then weights, then the
// sums over values, which wait in the thread's scratch.
//
// Invariants
//   A1  Scores, maximum, weights, their sum and the sum of values each have one order: ascending slot, the sink at last.
//       A row's result is a function of the keys and values that it sees, in their order: not of the slots that hold
//       them, of the slots between them, or of the rows beside it.
//   A2  Slots that nobody sees hold finite numbers.

import { exp, largest } from './math'
import { PAGE_SLOTS, PAGE_SLOTS_LOG2 } from './pages'
import { threadScratch } from './thread'
import { fromFiniteFloat16 } from './widening'

/** What is the same for all rows of a layer. */
@unmanaged
export class HeadWidths {
  headDim: i32 // of queries and keys
  valueDim: i32
  queryBytes: usize // from a query head to the next
}

/** Attention of query heads of one KV head for rows of one sequence. */
@unmanaged
export class Attention {
  op: i32
  widths: HeadWidths
  q: usize // rows of queries: these heads
  qStride: usize
  rows: i32
  group: i32 // query heads
  keys: usize // from a page's address to this head's keys in this layer
  values: usize
  pages: usize // address of each page
  numSlots: i32 // that some row sees, rounded up to 16
  views: usize // per row: first slot, prefix, first entry and number of entries of its list
  list: usize
  sinks: usize // a score per query head; 0: none
  y: usize
  yStride: usize
}

/** Address of query i: row by row, head by head. */
// @ts-ignore: decorator
@inline
function queryAt(p: Attention, i: i32): usize {
  return p.q + <usize>(i / p.group) * p.qStride + <usize>(i % p.group) * p.widths.queryBytes
}

// @ts-ignore: decorator
@inline
function pageAt(p: Attention, slot: i32): usize {
  return <usize>load<i32>(p.pages + ((<usize>slot >> PAGE_SLOTS_LOG2) << 2))
}

/** The first four of eight numbers of a page, and the other four. */
// @ts-ignore: decorator
@inline
function lowAt(page: usize, isHalf: bool): v128 {
  return isHalf ? fromFiniteFloat16(i32x4.extend_low_i16x8_s(v128.load(page))) : v128.load(page)
}

// @ts-ignore: decorator
@inline
function highAt(page: usize, isHalf: bool): v128 {
  return isHalf ? fromFiniteFloat16(i32x4.extend_high_i16x8_s(v128.load(page))) : v128.load(page, 16)
}

/** Scores of four queries (or one) with slots of a page, eight at a time; `row` bytes from query to query. */
// @ts-ignore: decorator
@inline
function score(s: usize, row: usize, slots: usize, k: usize, width: usize, qa: usize, qb: usize, qc: usize, qd: usize, isFour: bool, isHalf: bool): void {
  const lastScore = s + (slots << 2)
  for (; s < lastScore; s += 32) {
    let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0
    for (let i: usize = 0; i < width; i += 4) {
      const k0 = lowAt(k, isHalf), k1 = highAt(k, isHalf)
      let v = v128.load_splat<f32>(qa + i)
      a0 = f32x4.add(a0, f32x4.mul(k0, v))
      a1 = f32x4.add(a1, f32x4.mul(k1, v))
      if (isFour) {
        v = v128.load_splat<f32>(qb + i)
        b0 = f32x4.add(b0, f32x4.mul(k0, v))
        b1 = f32x4.add(b1, f32x4.mul(k1, v))
        v = v128.load_splat<f32>(qc + i)
        c0 = f32x4.add(c0, f32x4.mul(k0, v))
        c1 = f32x4.add(c1, f32x4.mul(k1, v))
        v = v128.load_splat<f32>(qd + i)
        d0 = f32x4.add(d0, f32x4.mul(k0, v))
        d1 = f32x4.add(d1, f32x4.mul(k1, v))
      }
      k += isHalf ? 16 : 32
    }
    v128.store(s, a0)
    v128.store(s, a1, 16)
    if (isFour) {
      v128.store(s + row, b0)
      v128.store(s + row, b1, 16)
      v128.store(s + 2 * row, c0)
      v128.store(s + 2 * row, c1, 16)
      v128.store(s + 3 * row, d0)
      v128.store(s + 3 * row, d1, 16)
    }
  }
}

/** Scores → weights exp(score - maximum), zero where the row does not see. */
function soften(p: Attention, s: usize, query: i32): void {
  const view = p.views + (<usize>(query / p.group) << 4)
  const first = <usize>load<i32>(view) << 2
  const prefix = <usize>load<i32>(view, 4) << 2
  const list = p.list + (<usize>load<i32>(view, 8) << 2)
  const entries = <usize>load<i32>(view, 12) << 2
  const whole = first + ((prefix - first) & ~15)
  let best: f32 = -Infinity
  let bests = f32x4.splat(-Infinity)
  for (let i = first; i < whole; i += 16) bests = f32x4.max(bests, v128.load(s + i))
  best = largest(bests)
  for (let i = whole; i < prefix; i += 4) best = max(best, load<f32>(s + i))
  for (let i: usize = 0; i < entries; i += 4) best = max(best, load<f32>(s + (<usize>load<i32>(list + i) << 2)))
  for (let i: usize = 0; i < first; i += 4) store<f32>(s + i, -Infinity)
  hide(p, s, prefix, list, entries)
  if (p.sinks != 0) {
    const sink = load<f32>(p.sinks + (<usize>(query % p.group) << 2))
    putSink(s + (<usize>p.numSlots << 2), sink)
    best = max(best, sink)
  }
  const end = scoreBytes(p)
  for (let i: usize = 0; i < end; i += 16) v128.store(s + i, exp(f32x4.sub(v128.load(s + i), f32x4.splat(best))))
}

/** A vector of sixteen scores, of which one is the sink. */
function putSink(s: usize, sink: f32): void {
  for (let i: usize = 0; i < SINK_BYTES; i += 16) v128.store(s + i, f32x4.splat(-Infinity))
  store<f32>(s, sink)
}

/** The sum of a query's weights, in the order of slots. */
function totalOf(p: Attention, s: usize): f32 {
  const end = s + scoreBytes(p)
  let sum: f32 = 0
  for (; s < end; s += 4) sum += load<f32>(s)
  return sum
}

/** Sets the scores from its prefix on that a row does not see to -Infinity. */
function hide(p: Attention, s: usize, prefix: usize, list: usize, entries: usize): void {
  let at = prefix
  for (let i: usize = 0; i < entries; i += 4) {
    const seen = <usize>load<i32>(list + i) << 2
    for (; at < seen; at += 4) store<f32>(s + at, -Infinity)
    at = seen + 4
  }
  const end = <usize>p.numSlots << 2
  for (; at < end; at += 4) store<f32>(s + at, -Infinity)
}

/** Adds a page's weighted values to the sums of four queries (or one), eight columns at a time. */
// @ts-ignore: decorator
@inline
function gather(p: Attention, first: i32, page: i32, isFour: bool, isHalf: bool): void {
  const row = scoreBytes(p)
  const stride = <usize>p.widths.valueDim << (isHalf ? 1 : 2)
  const width = sumBytes(p)
  const scores = scoresOf(p, first) + (<usize>page << 2)
  const end = scores + (<usize>min(PAGE_SLOTS, p.numSlots - page) << 2)
  let sums = sumsOf(p, first)
  let values = pageAt(p, page) + p.values
  for (let column: usize = 0; column < width; column += 32) {
    let a0 = v128.load(sums), a1 = v128.load(sums, 16)
    let b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0
    if (isFour) {
      b0 = v128.load(sums + width)
      b1 = v128.load(sums + width, 16)
      c0 = v128.load(sums + 2 * width)
      c1 = v128.load(sums + 2 * width, 16)
      d0 = v128.load(sums + 3 * width)
      d1 = v128.load(sums + 3 * width, 16)
    }
    let v = values
    for (let s = scores; s < end; s += 4) {
      const v0 = lowAt(v, isHalf), v1 = highAt(v, isHalf)
      let w = v128.load_splat<f32>(s)
      a0 = f32x4.add(a0, f32x4.mul(v0, w))
      a1 = f32x4.add(a1, f32x4.mul(v1, w))
      if (isFour) {
        w = v128.load_splat<f32>(s + row)
        b0 = f32x4.add(b0, f32x4.mul(v0, w))
        b1 = f32x4.add(b1, f32x4.mul(v1, w))
        w = v128.load_splat<f32>(s + 2 * row)
        c0 = f32x4.add(c0, f32x4.mul(v0, w))
        c1 = f32x4.add(c1, f32x4.mul(v1, w))
        w = v128.load_splat<f32>(s + 3 * row)
        d0 = f32x4.add(d0, f32x4.mul(v0, w))
        d1 = f32x4.add(d1, f32x4.mul(v1, w))
      }
      v += stride
    }
    v128.store(sums, a0)
    v128.store(sums, a1, 16)
    if (isFour) {
      v128.store(sums + width, b0)
      v128.store(sums + width, b1, 16)
      v128.store(sums + 2 * width, c0)
      v128.store(sums + 2 * width, c1, 16)
      v128.store(sums + 3 * width, d0)
      v128.store(sums + 3 * width, d1, 16)
    }
    sums += 32
    values += isHalf ? 16 : 32
  }
}

/** A query's sums of values, divided by the sum of its weights. */
function put(p: Attention, query: i32, total: f32): void {
  const y = p.y + <usize>(query / p.group) * p.yStride + <usize>(query % p.group) * (<usize>p.widths.valueDim << 2)
  const sums = sumsOf(p, query)
  const totals = f32x4.splat(total)
  const end = <usize>p.widths.valueDim << 2
  const whole = end & ~15
  for (let i: usize = 0; i < whole; i += 16) v128.store(y + i, f32x4.div(v128.load(sums + i), totals))
  for (let i = whole; i < end; i += 4) store<f32>(y + i, load<f32>(sums + i) / total)
}

// The thread's scratch: per query its scores [numSlots, and a vector of sixteen for the sink], then per query its sums
// [valueDim, whole vectors of eight].

const SINK_BYTES: usize = 64

/** Bytes of a query's scores. */
// @ts-ignore: decorator
@inline
function scoreBytes(p: Attention): usize {
  return (<usize>p.numSlots << 2) + (p.sinks == 0 ? 0 : SINK_BYTES)
}

// @ts-ignore: decorator
@inline
function scoresOf(p: Attention, query: i32): usize {
  return threadScratch() + <usize>query * scoreBytes(p)
}

// @ts-ignore: decorator
@inline
function sumBytes(p: Attention): usize {
  return ((<usize>p.widths.valueDim + 7) & ~7) << 2
}

// @ts-ignore: decorator
@inline
function sumsOf(p: Attention, query: i32): usize {
  return scoresOf(p, p.rows * p.group) + <usize>query * sumBytes(p)
}

// Functions of their own, for the registers' sake (see linear.ts). Addresses come as arguments: what is computed inside
// is computed again in the loop.

export function scoreFour(s: usize, row: usize, slots: usize, k: usize, width: usize, qa: usize, qb: usize, qc: usize, qd: usize): void {
  score(s, row, slots, k, width, qa, qb, qc, qd, true, false)
}

export function scoreOne(s: usize, slots: usize, k: usize, width: usize, q: usize): void {
  score(s, 0, slots, k, width, q, q, q, q, false, false)
}

export function gatherFour(p: Attention, first: i32, page: i32): void {
  gather(p, first, page, true, false)
}

export function gatherOne(p: Attention, first: i32, page: i32): void {
  gather(p, first, page, false, false)
}

export function scoreFourHalves(s: usize, row: usize, slots: usize, k: usize, width: usize, qa: usize, qb: usize, qc: usize, qd: usize): void {
  score(s, row, slots, k, width, qa, qb, qc, qd, true, true)
}

export function scoreOneHalves(s: usize, slots: usize, k: usize, width: usize, q: usize): void {
  score(s, 0, slots, k, width, q, q, q, q, false, true)
}

export function gatherFourHalves(p: Attention, first: i32, page: i32): void {
  gather(p, first, page, true, true)
}

export function gatherOneHalves(p: Attention, first: i32, page: i32): void {
  gather(p, first, page, false, true)
}

// @ts-ignore: decorator
@inline
function attendOver(p: Attention, isHalf: bool): void {
  const numQueries = p.rows * p.group
  const inFours = numQueries & ~3
  const width = <usize>p.widths.headDim << 2
  for (let page = 0; page < p.numSlots; page += PAGE_SLOTS) {
    const slots = <usize>min(PAGE_SLOTS, p.numSlots - page)
    const k = pageAt(p, page) + p.keys
    for (let query = 0; query < inFours; query += 4) {
      const s = scoresOf(p, query) + (<usize>page << 2)
      const qa = queryAt(p, query), qb = queryAt(p, query + 1), qc = queryAt(p, query + 2), qd = queryAt(p, query + 3)
      if (isHalf) scoreFourHalves(s, scoreBytes(p), slots, k, width, qa, qb, qc, qd)
      else scoreFour(s, scoreBytes(p), slots, k, width, qa, qb, qc, qd)
    }
    for (let query = inFours; query < numQueries; query++) {
      const s = scoresOf(p, query) + (<usize>page << 2)
      if (isHalf) scoreOneHalves(s, slots, k, width, queryAt(p, query))
      else scoreOne(s, slots, k, width, queryAt(p, query))
    }
  }
  memory.fill(sumsOf(p, 0), 0, <usize>numQueries * sumBytes(p))
  for (let query = 0; query < numQueries; query++) {
    soften(p, scoresOf(p, query), query)
  }
  for (let page = 0; page < p.numSlots; page += PAGE_SLOTS) {
    for (let query = 0; query < inFours; query += 4) {
      if (isHalf) gatherFourHalves(p, query, page)
      else gatherFour(p, query, page)
    }
    for (let query = inFours; query < numQueries; query++) {
      if (isHalf) gatherOneHalves(p, query, page)
      else gatherOne(p, query, page)
    }
  }
  for (let query = 0; query < numQueries; query++) put(p, query, totalOf(p, scoresOf(p, query)))
}

/** Over pages of float32 numbers. */
export function attend(p: Attention): void {
  attendOver(p, false)
}

/** The same over pages of float16 numbers, each widened where it is read. */
export function attendHalves(p: Attention): void {
  attendOver(p, true)
}
