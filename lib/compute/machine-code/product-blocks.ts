// The innermost part of a product: one block of a tile's weights, or one input of float weights, for a few rows.

import { at } from './addressing.js'
import { REGISTER, type Assembler } from './assembler.js'
import { addProducts, partsOf, ROLE, TILE_BYTES, type RowSum, type VectorUnit } from './code-frame.js'
import type { VectorName } from './vector-encoding.js'

export type FloatFormat = 'f32' | 'f16'
export type ProductFormat = FloatFormat | 'int8' | 'int4'
export const isFloat = (format: ProductFormat): format is FloatFormat => format === 'f32' || format === 'f16'

/** Of integers: bfloat16 per block, one for several blocks, float16 per block. */
export type ScaleLayout = 'blocks' | 'groups' | 'halves'

const PAIRS = 16 // of a block
export const SCALE_BYTES = 32
const PAIR_BYTES = { int8: 32, int4: 16 } as const
const INPUT_BYTES = { f32: TILE_BYTES, f16: TILE_BYTES / 2 } as const
/** What is asked for ahead of what is read: memory is slower than products of few rows. */
const AHEAD_BYTES = 4096

/** Bytes of a tile's weights (and of its own scales), of a row of activations, that a block takes. */
export const blockBytes = (format: ProductFormat, layout: ScaleLayout): number =>
  isFloat(format) ? INPUT_BYTES[format] : (layout === 'groups' ? 0 : SCALE_BYTES) + PAIRS * PAIR_BYTES[format]
export const rowBytes = (format: ProductFormat): number => (isFloat(format) ? 4 : PAIRS * 4)

/** General registers: addresses, and what is added to rows' addresses. */
export const PLACE = { weights: REGISTER.ax, scaleAt: REGISTER.cx, offsetAt: REGISTER.dx, xAt: REGISTER.si } as const
const { weights, scaleAt, offsetAt, xAt } = PLACE
const firstRow = ROLE.pointers

/** Vector registers with a role for the whole function; the sums take those after them. */
export interface VectorRegisters {
  readonly parts: number // vectors of a tile
  readonly shifts: number // int4, `parts` of them: bits of each level in its word
  readonly mask: number // int4
  readonly operand: number // `parts` of them: weights, scales
  readonly value: number
  readonly product: number
  readonly firstSum: number
}

export function vectorRegisters(unit: VectorUnit, format: ProductFormat): VectorRegisters {
  const parts = partsOf(unit)
  const numConstants = format === 'int4' ? parts + 1 : 0
  const value = numConstants + parts
  return { parts, shifts: 0, mask: parts, operand: numConstants, value, product: value + 1, firstSum: value + 2 }
}

export interface RowsCode extends VectorRegisters {
  readonly a: Assembler
  readonly unit: VectorUnit
  readonly format: ProductFormat
  readonly layout: ScaleLayout
  readonly rows: number
  readonly scales: number // general register: where the block's scales lie
}

/** Registers of a row's part of a tile: its float sum, and the integer sums of a block, which are added at its end. */
export interface Accumulator extends RowSum {
  readonly dots: readonly number[]
}

/** sum += weight · x of one input; a float16 weight is widened, which is exact. */
export function writeInput(code: RowsCode, format: FloatFormat, sums: readonly Accumulator[]): void {
  const { a, unit, parts, operand, value, product } = code
  a.prefetch(at(weights, AHEAD_BYTES))
  for (let part = 0; part < parts; part++) {
    const from = at(weights, (part * INPUT_BYTES[format]) / parts)
    a.vector(format === 'f16' ? 'vcvtph2ps' : 'vmovups', unit.vectorBytes, { to: operand + part, from })
  }
  addProducts(a, unit, sums, { operand, value, product, at: xAt })
}

/** sum += dots · (scale · x's scale), the dots of 16 pairs being exact. */
export function writeBlock(code: RowsCode, format: 'int8' | 'int4', sums: readonly Accumulator[]): void {
  const { a, unit, parts, operand, value, product } = code
  const vector = (name: VectorName, to: number, left: number, from: number): void =>
    a.vector(name, unit.vectorBytes, { to, left, from })
  startDots(code, format, sums)
  for (let pair = 0; pair < PAIRS; pair++) {
    const offset = SCALE_BYTES + pair * PAIR_BYTES[format]
    if (offset % TILE_BYTES === SCALE_BYTES) a.prefetch(at(weights, AHEAD_BYTES + offset))
    loadPair(code, format, offset)
    for (const { row, part, dots } of sums) {
      const dot = dots[pair % dots.length] ?? 0
      if (part === 0) a.vector('vpbroadcastd', unit.vectorBytes, { to: value, from: at(firstRow + row, 4 * pair, xAt) })
      if (unit.hasDotProduct) vector('vpdpwssd', dot, operand + part, value)
      else {
        vector('vpmaddwd', product, operand + part, value)
        vector('vpaddd', dot, dot, product)
      }
    }
  }
  for (let part = 0; part < parts; part++) loadScales(code, part)
  for (const {
    row,
    part,
    sum,
    dots: [dot = 0, ...more],
  } of sums) {
    if (part === 0) a.vector('vpbroadcastd', unit.vectorBytes, { to: value, from: at(firstRow + row, 0, scaleAt) })
    for (const other of more) vector('vpaddd', dot, dot, other)
    a.vector('vcvtdq2ps', unit.vectorBytes, { to: dot, from: dot })
    vector('vmulps', product, operand + part, value)
    vector('vmulps', dot, dot, product)
    vector('vaddps', sum, sum, dot)
  }
}

function loadScales({ a, unit: { vectorBytes }, layout, scales, operand }: RowsCode, part: number): void {
  const to = operand + part
  const from = at(scales, (part * vectorBytes) / 2)
  if (layout === 'halves') return a.vector('vcvtph2ps', vectorBytes, { to, from })
  a.vector('vpmovzxwd', vectorBytes, { to, from })
  a.vector('vpslld', vectorBytes, { to, from: to, immediate: 16 }) // bfloat16
}

/** int4 levels are stored with 8 added: there the row's offset takes away what that adds. */
function startDots(
  { a, unit: { vectorBytes } }: RowsCode,
  format: 'int8' | 'int4',
  sums: readonly Accumulator[],
): void {
  for (const { row, dots } of sums) {
    for (const [i, dot] of dots.entries()) {
      if (format === 'int4' && i === 0) {
        a.vector('vpbroadcastd', vectorBytes, { to: dot, from: at(firstRow + row, 0, offsetAt) })
      } else a.vector('vpxor', vectorBytes, { to: dot, left: dot, from: dot })
    }
  }
}

/** The weights of a pair of inputs, as 16-bit integers. */
function loadPair(code: RowsCode, format: 'int8' | 'int4', offset: number): void {
  const {
    a,
    unit: { vectorBytes },
    parts,
    operand,
    value,
    shifts,
    mask,
  } = code
  if (format === 'int4') a.vector('vbroadcasti128', vectorBytes, { to: value, from: at(weights, offset) })
  for (let part = 0; part < parts; part++) {
    const to = operand + part
    if (format === 'int8') {
      a.vector('vpmovsxbw', vectorBytes, { to, from: at(weights, offset + (part * vectorBytes) / 2) })
    } else {
      a.vector('vpsrlvd', vectorBytes, { to, left: value, from: shifts + part })
      a.vector('vpand', vectorBytes, { to, left: to, from: mask })
    }
  }
}
