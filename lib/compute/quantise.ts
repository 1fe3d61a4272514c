// Block-scaled integer weights in the layout of ONNX Runtime's `MatMulNBits`: per output row, blocks of 32 inputs with
// one scale each (or one for several blocks) and an implied zero point of 2^(bits-1). Scales are bfloat16 numbers (the
// kernels keep the upper half only), rounded away from zero, so that no weight is cut off.
//
//   int8  scale = absmax / 127                 q = round(w / scale) + 128
//   int4  scale = (the value of largest magnitude) / -8,  q = round(w / scale) + 8 in 0 … 15, low nibble first
//
// Weights are finite. The arithmetic is that of `kernels/levels.ts`.

import { bytesAt, doublesAt, floatsAt, PIECE_VALUES, placeIn, roomFor, runPacking } from '../packing/packing-memory.js'
import { inOneGo, type Steps } from './steps.js'

export const BLOCK_SIZE = 32

export interface QuantisedMatrix {
  readonly bits: 4 | 8
  readonly data: Uint8Array // [out, in / 32, 32 * bits / 8]
  readonly scales: Float32Array // [out, in / 32 / blocksPerScale, rounded up]
  readonly blocksPerScale: number
}

/** Whether a matrix with this many inputs can be stored in blocks; others stay float32. */
export const isQuantisable = (numInputs: number): boolean => numInputs % BLOCK_SIZE === 0

/** Scales that cover several blocks of a row; the last one of a row may cover fewer. */
export interface ScaleGroups {
  readonly blocks: number // of a row
  readonly blocksPerScale: number
}

const ONE_BLOCK: ScaleGroups = { blocks: 1, blocksPerScale: 1 }

/** Quantises [out, in] row-major float32 weights; `in` is a multiple of 32. A scale per block, unless told otherwise. */
export function quantise(weights: Float32Array, bits: 4 | 8, groups: ScaleGroups = ONE_BLOCK): QuantisedMatrix {
  const data = new Uint8Array((weights.length * bits) / 8)
  const scales = new Float32Array((weights.length / rowLength(groups)) * scalesOfRow(groups))
  let numScales = 0
  for (const { first, piece } of piecesOf(weights, groups)) {
    const made = quantisePiece(piece, bits, groups)
    data.set(made.data, (first * bits) / 8)
    scales.set(made.scales, numScales)
    numScales += made.scales.length
  }
  return { bits, data, scales, blocksPerScale: groups.blocksPerScale }
}

/** The same of a piece of rows; what is returned lies in the packing memory until the next piece is quantised. */
export function quantisePiece(weights: Float32Array, bits: 4 | 8, groups: ScaleGroups): QuantisedMatrix {
  const { blocks, blocksPerScale } = groups
  const rows = weights.length / rowLength(groups)
  const [numBytes, numScales] = [(weights.length * bits) / 8, rows * scalesOfRow(groups)]
  const [levels, scales] = [roomFor('levels', numBytes), roomFor('scales', numScales * 4)]
  const kernel = bits === 8 ? 'quantiseInt8' : 'quantiseInt4'
  runPacking(kernel, placeIn('rows', weights), rows, blocks, blocksPerScale, levels, scales)
  return { bits, data: bytesAt(levels, numBytes), scales: floatsAt(scales, numScales), blocksPerScale }
}

/** ‖W − Ŵ‖ / ‖W‖ of what `quantise` makes of the weights, whole rows in pieces; 0 for zeros. */
export function* errorOfPieces(
  pieces: Iterable<Float32Array>,
  bits: 4 | 8,
  groups: ScaleGroups = ONE_BLOCK,
): Steps<number> {
  const sums = new Float64Array(2) // what is lost, what there was
  for (const weights of pieces) {
    for (const { piece } of piecesOf(weights, groups)) addErrors(piece, bits, groups, sums)
    yield
  }
  const [lost = 0, all = 0] = sums
  return all === 0 ? 0 : Math.sqrt(lost / all)
}

/** The same of weights in one piece. */
export const quantisationError = (weights: Float32Array, bits: 4 | 8, groups?: ScaleGroups): number =>
  inOneGo(errorOfPieces([weights], bits, groups))

function addErrors(weights: Float32Array, bits: 4 | 8, groups: ScaleGroups, sums: Float64Array): void {
  const terms = roomFor('terms', 2 * scalesOfRow(groups) * 2 * 8) // of two rows
  const total = doublesAt(roomFor('sums', sums.byteLength), sums.length)
  total.set(sums)
  const kernel = bits === 8 ? 'addErrorsInt8' : 'addErrorsInt4'
  const rows = weights.length / rowLength(groups)
  runPacking(kernel, placeIn('rows', weights), rows, groups.blocks, groups.blocksPerScale, terms, total.byteOffset)
  sums.set(total)
}

const rowLength = ({ blocks }: ScaleGroups): number => blocks * BLOCK_SIZE
const scalesOfRow = ({ blocks, blocksPerScale }: ScaleGroups): number => Math.ceil(blocks / blocksPerScale)

/** Whole rows that are looked at together. */
function* piecesOf(weights: Float32Array, groups: ScaleGroups) {
  const step = Math.max(1, Math.floor(PIECE_VALUES / rowLength(groups))) * rowLength(groups)
  for (let first = 0; first < weights.length; first += step)
    yield { first, piece: weights.subarray(first, first + step) }
}

/** What a level stands for, in scales: the integer that the kernels multiply with. */
export function levelAt({ bits, data }: Pick<QuantisedMatrix, 'bits' | 'data'>, index: number): number {
  return bits === 8 ? data[index]! - 128 : ((data[index >> 1]! >> ((index & 1) * 4)) & 15) - 8
}
