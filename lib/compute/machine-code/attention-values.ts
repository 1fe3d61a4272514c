// Attention's results: weighted values and weights, both added in the order of slots, and the one over the other.

import { at } from './addressing.js'
import { REGISTER, type Assembler } from './assembler.js'
import { ATTENTION, FRAME, locateRow, sumsOf, type AttentionCode } from './attention-frame.js'
import { addProducts, countDown, countUp, moveSums, ofFrame, ofTask, ROLE, TILE_BYTES } from './code-frame.js'

const { ax, cx, dx, si, di } = REGISTER

export function clearSums({ a, unit: { vectorBytes }, parts }: AttentionCode): void {
  a.move(ax, ofFrame(FRAME.sums))
  a.load32(cx, ofFrame(FRAME.numQueries))
  a.multiply32(cx, ofFrame(FRAME.sumBytes))
  a.vector('vpxor', vectorBytes, { to: 0, left: 0, from: 0 })
  countDown(a, cx, TILE_BYTES, () => {
    for (let part = 0; part < parts; part++) {
      a.vector('vmovupsStore', vectorBytes, { to: 0, from: at(ax, part * vectorBytes) })
    }
    a.addImmediate(ax, TILE_BYTES)
  })
}

/** Rows of scores of a block's queries, from the page's first slot on. */
function locateScores(a: Assembler, queries: number): void {
  locateRow(a, ROLE.pointers, FRAME.scores, FRAME.rowBytes)
  a.load32(cx, ofFrame(FRAME.rowBytes))
  for (let query = 1; query < queries; query++) {
    a.move(ROLE.pointers + query, ROLE.pointers + query - 1)
    a.add(ROLE.pointers + query, cx)
  }
}

/** Adds a page's weighted values to the sums of a block of queries, sixteen columns at a time. */
export function writeSums({ a, unit, parts, isHalf }: AttentionCode, queries: number): void {
  const { vectorBytes } = unit
  const halvings = isHalf ? 1 : 0
  const sums = sumsOf(queries, parts)
  const [values, value, product] = [sums.length, sums.length + parts, sums.length + parts + 1]
  locateScores(a, queries)
  a.load32(cx, ofFrame(FRAME.slot))
  a.shiftLeft(cx, 2)
  for (let query = 0; query < queries; query++) a.add(ROLE.pointers + query, cx)
  countUp(a, { counter: ofFrame(FRAME.column), limit: ofFrame(FRAME.sumBytes), steps: [TILE_BYTES] }, () => {
    const forSums = (name: 'vmovups' | 'vmovupsStore'): void => {
      locateRow(a, ax, FRAME.sums, FRAME.sumBytes)
      a.load32(cx, ofFrame(FRAME.column))
      a.add(ax, cx)
      a.load32(cx, ofFrame(FRAME.sumBytes))
      moveSums(a, unit, name, sums, { first: ax, stride: cx })
    }
    forSums('vmovups')
    a.load32(dx, ofFrame(FRAME.column))
    if (isHalf) a.shiftRight(dx, 1)
    a.add(dx, ofFrame(FRAME.page))
    a.load32(di, ofFrame(FRAME.valueDim))
    a.shiftLeft(di, 2 - halvings)
    a.load32(cx, ofFrame(FRAME.slots))
    a.moveImmediate(si, 0n)
    countDown(a, cx, 1, () => {
      for (let part = 0; part < parts; part++) {
        const from = at(dx, (part * vectorBytes) >> halvings)
        a.vector(isHalf ? 'vcvtph2ps' : 'vmovups', vectorBytes, { to: values + part, from })
      }
      addProducts(a, unit, sums, { operand: values, value, product, at: si })
      a.add(dx, di)
      a.addImmediate(si, 4)
    })
    forSums('vmovupsStore')
  })
}

/** The sums of a block's weights, in the order of slots, in the place of the queries' addresses. */
export function writeTotals({ a, unit: { vectorBytes } }: AttentionCode, queries: number): void {
  locateScores(a, queries)
  const value = queries
  for (let query = 0; query < queries; query++) a.vector('vpxor', vectorBytes, { to: query, left: query, from: query })
  a.moveImmediate(si, 0n)
  countDown(a, cx, 4, () => {
    for (let query = 0; query < queries; query++) {
      a.vector('vpbroadcastd', vectorBytes, { to: value, from: at(ROLE.pointers + query, 0, si) })
      a.vector('vaddps', vectorBytes, { to: query, left: query, from: value })
    }
    a.addImmediate(si, 4)
  })
  a.load32(ax, ofFrame(FRAME.query))
  a.shiftLeft(ax, 3)
  a.add(ax, ofFrame(FRAME.addresses))
  for (let query = 0; query < queries; query++) {
    a.vector('vmovupsStore', vectorBytes, { to: query, from: ofFrame(FRAME.lanes) })
    a.load32(cx, ofFrame(FRAME.lanes))
    a.store32(at(ax, 8 * query), cx)
  }
}

/** Sums of values over totals, row by row, head by head. */
export function writeResults({ a, unit: { vectorBytes }, parts }: AttentionCode): void {
  const [firstOfRow, to, rowsLeft, headsLeft] = [ROLE.pointers, ROLE.pointers + 1, ROLE.pointers + 2, ROLE.pointers + 3]
  const [quotient, total] = [0, 1]
  a.move(ax, ofFrame(FRAME.sums))
  a.move(dx, ofFrame(FRAME.addresses))
  a.load32(firstOfRow, ofTask(ATTENTION.y))
  a.add(firstOfRow, ROLE.memory)
  a.load32(rowsLeft, ofTask(ATTENTION.rows))
  countDown(a, rowsLeft, 1, () => {
    a.move(to, firstOfRow)
    a.load32(headsLeft, ofTask(ATTENTION.group))
    countDown(a, headsLeft, 1, () => {
      a.vector('vpbroadcastd', vectorBytes, { to: total, from: at(dx) })
      a.move(si, ax)
      a.load32(cx, ofFrame(FRAME.sumBytes))
      countDown(a, cx, TILE_BYTES, () => {
        for (let part = 0; part < parts; part++) {
          a.vector('vmovups', vectorBytes, { to: quotient, from: at(si, part * vectorBytes) })
          a.vector('vdivps', vectorBytes, { to: quotient, left: quotient, from: total })
          a.vector('vmovupsStore', vectorBytes, { to: quotient, from: at(si, part * vectorBytes) })
        }
        a.addImmediate(si, TILE_BYTES)
      })
      a.load32(cx, ofFrame(FRAME.valueDim))
      a.move(si, ax)
      countDown(a, cx, 2, () => {
        // widths of values are even; not a float more, the next one may be another thread's
        a.move(di, at(si))
        a.store(at(to), di)
        a.addImmediate(si, 8)
        a.addImmediate(to, 8)
      })
      a.load32(di, ofFrame(FRAME.sumBytes))
      a.add(ax, di)
      a.addImmediate(dx, 8)
    })
    a.load32(di, ofTask(ATTENTION.yStride))
    a.add(firstOfRow, di)
  })
}
