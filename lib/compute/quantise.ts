// Block-scaled integer weights in the layout of ONNX Runtime's `MatMulNBits`: per output row, blocks of 32 inputs with
// one scale each (or one for several blocks) and an implied zero point of 2^(bits-1). Scales are bfloat16 numbers (the
// kernels keep the upper half only), rounded away from zero, so that no weight is cut off.
//
//   int8  scale = absmax / 127                 q = round(w / scale) + 128
//   int4  scale = (the value of largest magnitude) / -8,  q = round(w / scale) + 8 in 0 … 15, low nibble first

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
  const { blocks, blocksPerScale } = groups
  const rowLength = blocks * BLOCK_SIZE
  const groupLength = blocksPerScale * BLOCK_SIZE
  const numRows = weights.length / rowLength
  const scalesPerRow = Math.ceil(blocks / blocksPerScale)
  const scales = new Float32Array(numRows * scalesPerRow)
  const data = new Uint8Array((weights.length * bits) / 8)
  const quantiseRange = bits === 8 ? quantiseRange8 : quantiseRange4
  for (let scale = 0; scale < scales.length; scale++) {
    const inRow = (scale % scalesPerRow) * groupLength
    const start = Math.floor(scale / scalesPerRow) * rowLength + inRow
    scales[scale] = quantiseRange(weights, start, start + Math.min(groupLength, rowLength - inRow), data)
  }
  return { bits, data, scales, blocksPerScale }
}

function extreme(weights: Float32Array, start: number, end: number): number {
  let value = 0
  for (let i = start; i < end; i++) if (Math.abs(weights[i]!) > Math.abs(value)) value = weights[i]!
  return value
}

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** The nearest bfloat16 number that is not nearer to zero. */
function toScale(value: number): number {
  float[0] = value
  bits[0] = (bits[0]! + 0xffff) & 0xffff0000
  return float[0]
}

function quantiseRange8(weights: Float32Array, start: number, end: number, data: Uint8Array): number {
  const scale = toScale(Math.abs(extreme(weights, start, end)) / 127)
  const inverse = scale === 0 ? 0 : 1 / scale
  for (let i = start; i < end; i++) {
    data[i] = Math.max(-127, Math.min(127, Math.round(weights[i]! * inverse))) + 128
  }
  return scale
}

function quantiseRange4(weights: Float32Array, start: number, end: number, data: Uint8Array): number {
  const scale = toScale(extreme(weights, start, end) / -8)
  const inverse = scale === 0 ? 0 : 1 / scale
  const level = (i: number): number => Math.max(0, Math.min(15, Math.round(weights[i]! * inverse) + 8))
  for (let i = start; i < end; i += 2) data[i / 2] = level(i) | (level(i + 1) << 4)
  return scale
}

/** What a level stands for, in scales: the integer that the kernels multiply with. */
export function levelAt({ bits, data }: Pick<QuantisedMatrix, 'bits' | 'data'>, index: number): number {
  return bits === 8 ? data[index]! - 128 : ((data[index >> 1]! >> ((index & 1) * 4)) & 15) - 8
}
