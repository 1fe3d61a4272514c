// Attention's scores: q · k, the dimensions in ascending order.

import { at } from './addressing.js'
import { REGISTER } from './assembler.js'
import { FRAME, locateRow, sumsOf, type AttentionCode } from './attention-frame.js'
import { addProducts, countDown, moveSums, ofFrame, ROLE, TILE_BYTES } from './code-frame.js'

const { ax, cx, dx, si, di } = REGISTER

/** Scores of a block of queries with a page's slots, sixteen at a time: two groups of eight. */
export function writeScores(code: AttentionCode, queries: number): void {
  const { a, unit, parts, isHalf } = code
  const { vectorBytes } = unit
  const groupBytes = isHalf ? 16 : 32 // eight slots of one dimension
  const sums = sumsOf(queries, parts)
  const [keys, value, product] = [sums.length, sums.length + parts, sums.length + parts + 1]
  a.load32(dx, ofFrame(FRAME.query))
  a.shiftLeft(dx, 3)
  a.add(dx, ofFrame(FRAME.addresses))
  for (let query = 0; query < queries; query++) a.move(ROLE.pointers + query, at(dx, 8 * query))
  locateRow(a, ax, FRAME.scores, FRAME.rowBytes)
  a.load32(dx, ofFrame(FRAME.slot))
  a.shiftLeft(dx, 2)
  a.add(ax, dx)
  a.move(dx, ofFrame(FRAME.page))
  a.load32(cx, ofFrame(FRAME.slots))
  a.store32(ofFrame(FRAME.column), cx)
  const again = a.label()
  a.bind(again)
  a.move(cx, dx)
  a.load32(di, ofFrame(FRAME.headDim))
  a.move(si, di)
  a.shiftLeft(si, Math.log2(groupBytes))
  a.add(dx, si)
  a.moveImmediate(si, 0n)
  for (const { sum } of sums) a.vector('vpxor', vectorBytes, { to: sum, left: sum, from: sum })
  countDown(a, di, 1, () => {
    loadGroups(code, keys)
    addProducts(a, unit, sums, { operand: keys, value, product, at: si })
    a.addImmediate(cx, groupBytes)
    a.addImmediate(dx, groupBytes)
    a.addImmediate(si, 4)
  })
  a.move(di, ax)
  a.load32(si, ofFrame(FRAME.rowBytes))
  moveSums(a, unit, 'vmovupsStore', sums, { first: di, stride: si })
  a.addImmediate(ax, TILE_BYTES)
  a.load32(cx, ofFrame(FRAME.column))
  a.addImmediate(cx, -16)
  a.store32(ofFrame(FRAME.column), cx)
  a.compareImmediate32(cx, 0)
  a.jumpIf('notEqual', again)
}

/** Eight slots at cx and eight at dx, in two vectors or one. */
function loadGroups({ a, parts, isHalf }: AttentionCode, keys: number): void {
  const load = isHalf ? 'vcvtph2ps' : 'vmovups'
  a.vector(load, 32, { to: keys, from: at(cx) })
  if (parts === 2) return a.vector(load, 32, { to: keys + 1, from: at(dx) })
  const others = keys + 3 // behind the value and the product
  if (isHalf) a.vector(load, 32, { to: others, from: at(dx) })
  a.vector('vinserti32x8', 64, { to: keys, left: keys, from: isHalf ? others : at(dx), immediate: 1 })
}
