// A layer's integers some rows at a time: neither its values nor all of its integers are ever in memory together.
//
// Invariants
//   IR1  Blocks that the checkpoint holds are taken as they are, where the format has room for their bits and two bytes
//        for their scales: what is multiplied with is what the file says. Else the layer is quantised from its values.
//   IR2  The choice is a function of the layer's values and the format alone; how many rows are read at once decides
//        nothing.

import type { StoredBlocks } from '../model/stored-tensor.js'
import type { IntegerFormat } from '../model/weight-formats.js'
import { chooseBlocks } from './adaptive-blocks.js'
import { concat } from './concat.js'
import { partsOf, pieces, rowsOf, scratchFor, type LinearWeights, type ReadRows } from './linear-weights.js'
import { BLOCK_SIZE, quantise, quantisePiece, type QuantisedMatrix } from './quantise.js'
import { numbersThatHold, type ScaleNumbers } from './scale-numbers.js'
import type { Steps } from './steps.js'

export interface IntegerRows {
  readonly bits: 4 | 8
  readonly blocksPerScale: number
  readonly scaleNumbers: ScaleNumbers
  /** Rows first … first + count - 1, to be used before others are read. */
  readonly rows: (first: number, count: number) => QuantisedMatrix
}

/** The layer's integers; its inputs are whole blocks. */
export function* integerRows(layer: LinearWeights, { bits, isAdaptive }: IntegerFormat): Steps<IntegerRows> {
  const kept = keptRows(layer, bits)
  const numbers = kept && (yield* numbersOf(kept, layer))
  if (kept !== undefined && numbers !== undefined) return { bits, blocksPerScale: 1, scaleNumbers: numbers, rows: kept }
  const blocks = layer.inputs / BLOCK_SIZE
  // Read several times over: columns of the file, each time all of it, are better kept meanwhile.
  const read: ReadRows = rowsOf(isAdaptive && layer.areColumns === true ? { ...layer, rows: undefined } : layer)
  const values: ReadRows = (first, count) => read(first, count, scratchFor(count * layer.inputs))
  const blocksPerScale = isAdaptive ? yield* chooseBlocks(() => piecesOf(values, layer), bits, blocks) : 1
  return {
    bits,
    blocksPerScale,
    scaleNumbers: 'bfloat16',
    rows: (first, count) => quantisePiece(values(first, count), bits, { blocks, blocksPerScale }),
  }
}

function* piecesOf<T>(rows: (first: number, count: number) => T, layer: LinearWeights): Generator<T> {
  for (const { first, count } of pieces(layer)) yield rows(first, count)
}

type ReadIntegers = IntegerRows['rows']

/** What holds the scales of all rows; nothing where neither does. */
function* numbersOf(rows: ReadIntegers, layer: LinearWeights): Steps<ScaleNumbers | undefined> {
  let left: readonly ScaleNumbers[] = ['bfloat16', 'float16']
  for (const { scales } of piecesOf(rows, layer)) {
    const fit = numbersThatHold(scales)
    left = left.filter((numbers) => fit.includes(numbers))
    yield
  }
  return left[0]
}

/** Rows as their file holds them, beside parts that are no blocks there; nothing where none is one that fits. */
export function keptRows(layer: LinearWeights, bits: 4 | 8): ReadIntegers | undefined {
  const parts = layer.parts ?? [layer]
  const blocks = parts.map((part) => blocksThatFit(part, bits))
  if (blocks.every((read) => read === undefined)) return undefined
  const readers = parts.map((part, i): ReadIntegers => {
    const [stored, values] = [blocks[i], rowsOf(part)]
    return stored === undefined
      ? (first, count) => quantise(values(first, count), bits)
      : (first, count) => ({ bits, ...widened(stored(first, count), bits), blocksPerScale: 1 })
  })
  return (first, count) => {
    const lie = [...partsOf(parts, { first, count })]
    const found = lie.map((rows) => readers[rows.part]!(rows.first, rows.count))
    const [only] = found
    if (found.length === 1 && only !== undefined) return only
    const data = Buffer.concat(found.map((part) => part.data))
    return { bits, data, scales: concat(found.map((part) => part.scales)), blocksPerScale: 1 }
  }
}

type ReadBlocks = (first: number, count: number) => StoredBlocks

function blocksThatFit(part: LinearWeights, bits: 4 | 8): ReadBlocks | undefined {
  if ((part.blockBits ?? bits) > bits) return undefined
  const { blockRows, outputs } = part
  if (blockRows === undefined) {
    const { blocks } = part
    return blocks === undefined || blocks.bits > bits
      ? undefined
      : (first, count) => cutOf(blocks, outputs, first, count)
  }
  const first = blockRows(0, 1)
  // What it gives of one row it gives of all.
  return first === undefined || first.bits > bits ? undefined : (from, count) => blockRows(from, count)!
}

/** Some of the rows. */
export function cutOf(
  { bits, data, scales }: StoredBlocks,
  outputs: number,
  first: number,
  count: number,
): StoredBlocks {
  const cut = <T extends Uint8Array | Float32Array>(all: T, width: number) =>
    all.subarray(first * width, (first + count) * width)
  return {
    bits,
    data: cut(data, data.length / outputs) as Uint8Array, // of the same kind
    scales: cut(scales, scales.length / outputs) as Float32Array,
  }
}

function widened(blocks: StoredBlocks, bits: 4 | 8): Pick<QuantisedMatrix, 'data' | 'scales'> {
  if (blocks.bits === bits) return blocks
  const data = new Uint8Array(blocks.data.length * 2)
  for (let i = 0; i < blocks.data.length; i++) {
    data[2 * i] = (blocks.data[i]! & 15) + 120 // four bits count from eight below zero
    data[2 * i + 1] = (blocks.data[i]! >> 4) + 120
  }
  return { data, scales: blocks.scales }
}
