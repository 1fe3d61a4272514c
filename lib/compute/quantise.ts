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

/** Where integers are written, in place of new arrays. */
export interface IntegerRoom {
  readonly data: Uint8Array
  readonly scales: Float32Array
}

const ONE_BLOCK: ScaleGroups = { blocks: 1, blocksPerScale: 1 }

/** Quantises [out, in] row-major float32 weights; `in` is a multiple of 32. A scale per block, unless told otherwise. */
export function quantise(
  weights: Float32Array,
  bits: 4 | 8,
  groups: ScaleGroups = ONE_BLOCK,
  room?: IntegerRoom,
): QuantisedMatrix {
  const { rowLength, size, perRow } = rangesOf(groups)
  const numScales = (weights.length / rowLength) * perRow
  const numBytes = (weights.length * bits) / 8
  const scales = room?.scales.subarray(0, numScales) ?? new Float32Array(numScales)
  const data = room?.data.subarray(0, numBytes) ?? new Uint8Array(numBytes)
  const write = bits === 8 ? writeLevels8 : writeLevels4
  for (let range = 0; range < scales.length; range++) {
    const start = Math.floor(range / perRow) * rowLength + (range % perRow) * size
    const end = Math.min(start + size, (Math.floor(range / perRow) + 1) * rowLength)
    putScale(weights, bits, start, end, scales, range)
    write(weights, start, end, scales, range, data)
  }
  return { bits, data, scales, blocksPerScale: groups.blocksPerScale }
}

/** ‖W − Ŵ‖ / ‖W‖ of what `quantise` makes of the weights, whole rows in pieces; 0 for zeros. */
export function errorOfPieces(pieces: Iterable<Float32Array>, bits: 4 | 8, groups: ScaleGroups = ONE_BLOCK): number {
  const { rowLength, size } = rangesOf(groups)
  const sums = new Float64Array(2) // what is lost, what there was
  for (const weights of pieces) {
    for (let row = 0; row < weights.length; row += rowLength) {
      for (let start = row; start < row + rowLength; start += size)
        addErrors(weights, bits, start, Math.min(start + size, row + rowLength), sums)
    }
  }
  const [lost = 0, all = 0] = sums
  return all === 0 ? 0 : Math.sqrt(lost / all)
}

/** The same of weights in one piece. */
export const quantisationError = (weights: Float32Array, bits: 4 | 8, groups?: ScaleGroups): number =>
  errorOfPieces([weights], bits, groups)

// What follows runs for every block of a checkpoint: fractions pass through typed arrays, because a call that returns one
// leaves garbage behind.

const scale = new Float32Array(1)

function addErrors(weights: Float32Array, bits: 4 | 8, start: number, end: number, sums: Float64Array): void {
  putScale(weights, bits, start, end, scale, 0)
  const [factor, inverse] = [scale[0]!, scale[0] === 0 ? 0 : 1 / scale[0]!]
  const [lowest, highest] = bits === 8 ? [-127, 127] : [-8, 7]
  let [lost, all] = [0, 0]
  for (let i = start; i < end; i++) {
    const weight = weights[i]!
    const difference = weight - Math.max(lowest, Math.min(highest, Math.round(weight * inverse))) * factor
    lost += difference * difference
    all += weight * weight
  }
  sums[0]! += lost
  sums[1]! += all
}

/** Weights that share a scale: of a row, the last of them maybe fewer. */
function rangesOf({ blocks, blocksPerScale }: ScaleGroups) {
  return {
    rowLength: blocks * BLOCK_SIZE,
    size: blocksPerScale * BLOCK_SIZE,
    perRow: Math.ceil(blocks / blocksPerScale),
  }
}

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** The scale of weights start … end-1, as the nearest bfloat16 number that is not nearer to zero. */
function putScale(
  weights: Float32Array,
  bits: 4 | 8,
  start: number,
  end: number,
  scales: Float32Array,
  at: number,
): void {
  let value = 0
  for (let i = start; i < end; i++) if (Math.abs(weights[i]!) > Math.abs(value)) value = weights[i]!
  float[0] = bits === 8 ? Math.abs(value) / 127 : value / -8
  floatBits[0] = (floatBits[0]! + 0xffff) & 0xffff0000
  scales[at] = float[0]
}

type WriteLevels = (
  weights: Float32Array,
  start: number,
  end: number,
  scales: Float32Array,
  at: number,
  data: Uint8Array,
) => void

const writeLevels8: WriteLevels = (weights, start, end, scales, at, data) => {
  const inverse = scales[at] === 0 ? 0 : 1 / scales[at]!
  for (let i = start; i < end; i++) data[i] = Math.max(-127, Math.min(127, Math.round(weights[i]! * inverse))) + 128
}

const writeLevels4: WriteLevels = (weights, start, end, scales, at, data) => {
  const inverse = scales[at] === 0 ? 0 : 1 / scales[at]!
  for (let i = start; i < end; i += 2) {
    const low = Math.max(-8, Math.min(7, Math.round(weights[i]! * inverse))) + 8
    const high = Math.max(-8, Math.min(7, Math.round(weights[i + 1]! * inverse))) + 8
    data[i / 2] = low | (high << 4)
  }
}

/** What a level stands for, in scales: the integer that the kernels multiply with. */
export function levelAt({ bits, data }: Pick<QuantisedMatrix, 'bits' | 'data'>, index: number): number {
  return bits === 8 ? data[index]! - 128 : ((data[index >> 1]! >> ((index & 1) * 4)) & 15) - 8
}
