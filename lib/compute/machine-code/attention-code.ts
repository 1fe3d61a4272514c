// Machine code of `attend` and `attendHalves` in `kernels/attention.ts`, with the processor's widest vectors: same task,
// same pages, same operations on every float in the same order, so the same bits (N1 in `product-code.ts`).

import type { KvFormat } from '../../model/kv-formats.js'
import { at } from './addressing.js'
import { REGISTER, type Assembler } from './assembler.js'
import { ATTENTION, forPages, forQueries, FRAME, FRAME_BYTES, WIDTHS, type AttentionCode } from './attention-frame.js'
import { writeScores } from './attention-scores.js'
import { clearSums, writeResults, writeSums, writeTotals } from './attention-values.js'
import { WEIGHT_CONSTANTS, writeWeights } from './attention-weights.js'
import { countDown, ofFrame, ofTask, partsOf, ROLE, TILE_BYTES, writeFunction, type VectorUnit } from './code-frame.js'

const { ax, cx, dx, si, di } = REGISTER

/** Writes `void attend(uint32_t task, uint32_t scratch)`; `base` is the address that both count from. */
export function writeAttention(a: Assembler, unit: VectorUnit, kv: KvFormat, base: bigint): void {
  const code = { a, unit, parts: partsOf(unit), isHalf: kv === 'f16' }
  const constants = a.label()
  writeFunction(a, base, FRAME_BYTES, () => {
    readWidths(code)
    layOutScratch(code)
    tabulateQueries(code)
    forPages(code, ATTENTION.keys, (queries) => writeScores(code, queries))
    writeWeights(code, constants)
    clearSums(code)
    forPages(code, ATTENTION.values, (queries) => writeSums(code, queries))
    forQueries(code, (queries) => writeTotals(code, queries))
    writeResults(code)
  })
  a.bind(constants)
  const lanes = unit.vectorBytes / 4
  a.data(
    new Uint8Array(Float32Array.from(WEIGHT_CONSTANTS.flatMap((value) => Array<number>(lanes).fill(value))).buffer),
  )
}

function readWidths({ a }: AttentionCode): void {
  a.load32(ax, ofTask(ATTENTION.widths))
  a.add(ax, ROLE.memory)
  for (const width of ['headDim', 'valueDim', 'queryBytes'] as const) {
    a.load32(cx, at(ax, WIDTHS[width]))
    a.store32(ofFrame(FRAME[width]), cx)
  }
}

function layOutScratch({ a }: AttentionCode): void {
  a.add(si, ROLE.memory)
  a.store(ofFrame(FRAME.scores), si)
  a.load32(ax, ofTask(ATTENTION.rows))
  a.multiply32(ax, ofTask(ATTENTION.group))
  a.store32(ofFrame(FRAME.numQueries), ax)
  a.load32(cx, ofTask(ATTENTION.numSlots))
  a.shiftLeft(cx, 2)
  a.store32(ofFrame(FRAME.slotBytes), cx)
  const noSink = a.label()
  a.compareImmediate32(ofTask(ATTENTION.sinks), 0)
  a.jumpIf('equal', noSink)
  a.addImmediate(cx, TILE_BYTES)
  a.bind(noSink)
  a.store32(ofFrame(FRAME.rowBytes), cx)
  a.multiply32(cx, ofFrame(FRAME.numQueries))
  a.add(si, cx)
  a.store(ofFrame(FRAME.sums), si)
  a.load32(cx, ofFrame(FRAME.valueDim))
  a.addImmediate(cx, 15)
  a.shiftRight(cx, 4)
  a.shiftLeft(cx, 6)
  a.store32(ofFrame(FRAME.sumBytes), cx)
  a.multiply32(cx, ofFrame(FRAME.numQueries))
  a.add(si, cx)
  a.store(ofFrame(FRAME.addresses), si)
}

/** Addresses of the queries: row by row, head by head. */
function tabulateQueries({ a }: AttentionCode): void {
  a.move(ax, ofFrame(FRAME.addresses))
  a.load32(cx, ofTask(ATTENTION.q))
  a.add(cx, ROLE.memory)
  a.load32(dx, ofTask(ATTENTION.rows))
  a.load32(ROLE.pointers, ofFrame(FRAME.queryBytes))
  a.load32(ROLE.pointers + 1, ofTask(ATTENTION.qStride))
  countDown(a, dx, 1, () => {
    a.move(si, cx)
    a.load32(di, ofTask(ATTENTION.group))
    countDown(a, di, 1, () => {
      a.store(at(ax), si)
      a.addImmediate(ax, 8)
      a.add(si, ROLE.pointers)
    })
    a.add(cx, ROLE.pointers + 1)
  })
}
