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
  const ranges = rangesOf(weights.length, groups)
  const scales = new Float32Array(ranges.count)
  const data = new Uint8Array((weights.length * bits) / 8)
  const write = bits === 8 ? writeLevels8 : writeLevels4
  ranges.forEach((start, end, range) => {
    scales[range] = scaleOf(weights, bits, start, end)
    write(weights, start, end, inverseOf(scales[range]), data)
  })
  return { bits, data, scales, blocksPerScale: groups.blocksPerScale }
}

/** ‖W − Ŵ‖ / ‖W‖ of what `quantise` makes of the weights; 0 for zeros. */
export function quantisationError(weights: Float32Array, bits: 4 | 8, groups: ScaleGroups = ONE_BLOCK): number {
  let [lost, all] = [0, 0]
  rangesOf(weights.length, groups).forEach((start, end) => {
    lost += lossOf(weights, bits, start, end)
    all += energyOf(weights, start, end)
  })
  return all === 0 ? 0 : Math.sqrt(lost / all)
}

function lossOf(weights: Float32Array, bits: 4 | 8, start: number, end: number): number {
  const scale = scaleOf(weights, bits, start, end)
  const inverse = inverseOf(scale)
  const level = bits === 8 ? level8 : level4
  let lost = 0
  for (let i = start; i < end; i++) {
    const difference = weights[i]! - level(weights[i]!, inverse) * scale
    lost += difference * difference
  }
  return lost
}

function energyOf(weights: Float32Array, start: number, end: number): number {
  let sum = 0
  for (let i = start; i < end; i++) sum += weights[i]! * weights[i]!
  return sum
}

/** The stretches of weights that share a scale, in the order of their scales. */
function rangesOf(length: number, { blocks, blocksPerScale }: ScaleGroups) {
  const rowLength = blocks * BLOCK_SIZE
  const size = blocksPerScale * BLOCK_SIZE
  const perRow = Math.ceil(blocks / blocksPerScale)
  const count = (length / rowLength) * perRow
  const forEach = (visit: (start: number, end: number, range: number) => void): void => {
    for (let range = 0; range < count; range++) {
      const inRow = (range % perRow) * size
      const start = Math.floor(range / perRow) * rowLength + inRow
      visit(start, start + Math.min(size, rowLength - inRow), range)
    }
  }
  return { count, forEach }
}

function scaleOf(weights: Float32Array, bits: 4 | 8, start: number, end: number): number {
  let value = 0
  for (let i = start; i < end; i++) if (Math.abs(weights[i]!) > Math.abs(value)) value = weights[i]!
  return toScale(bits === 8 ? Math.abs(value) / 127 : value / -8)
}

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** The nearest bfloat16 number that is not nearer to zero. */
function toScale(value: number): number {
  float[0] = value
  floatBits[0] = (floatBits[0]! + 0xffff) & 0xffff0000
  return float[0]
}

const inverseOf = (scale: number): number => (scale === 0 ? 0 : 1 / scale)
const level8 = (weight: number, inverse: number): number => Math.max(-127, Math.min(127, Math.round(weight * inverse)))
const level4 = (weight: number, inverse: number): number => Math.max(-8, Math.min(7, Math.round(weight * inverse)))

type WriteLevels = (weights: Float32Array, start: number, end: number, inverse: number, data: Uint8Array) => void

const writeLevels8: WriteLevels = (weights, start, end, inverse, data) => {
  for (let i = start; i < end; i++) data[i] = level8(weights[i]!, inverse) + 128
}

const writeLevels4: WriteLevels = (weights, start, end, inverse, data) => {
  for (let i = start; i < end; i += 2) {
    data[i / 2] = (level4(weights[i]!, inverse) + 8) | ((level4(weights[i + 1]!, inverse) + 8) << 4)
  }
}

/** What a level stands for, in scales: the integer that the kernels multiply with. */
export function levelAt({ bits, data }: Pick<QuantisedMatrix, 'bits' | 'data'>, index: number): number {
  return bits === 8 ? data[index]! - 128 : ((data[index >> 1]! >> ((index & 1) * 4)) & 15) - 8
}
