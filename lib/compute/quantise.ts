// Block-scaled integer weights in the layout of ONNX Runtime's `MatMulNBits`: per output row, blocks of 32 inputs with
// one scale each and an implied zero point of 2^(bits-1). Scales are bfloat16 numbers (the kernels keep the upper half
// only), rounded away from zero, so that no weight is cut off.
//
//   int8  scale = absmax / 127                 q = round(w / scale) + 128
//   int4  scale = (the value of largest magnitude) / -8,  q = round(w / scale) + 8 in 0 … 15, low nibble first

export const BLOCK_SIZE = 32

export interface QuantisedMatrix {
  readonly data: Uint8Array // [out, in / 32, 32 * bits / 8]
  readonly scales: Float32Array // [out, in / 32]
}

/** Whether a matrix with this many inputs can be stored in blocks; others stay float32. */
export const isQuantisable = (numInputs: number): boolean => numInputs % BLOCK_SIZE === 0

/** Quantises [out, in] row-major float32 weights; `in` is a multiple of 32. */
export function quantise(weights: Float32Array, bits: 4 | 8): QuantisedMatrix {
  const numBlocks = weights.length / BLOCK_SIZE
  const scales = new Float32Array(numBlocks)
  const data = new Uint8Array((weights.length * bits) / 8)
  const quantiseBlock = bits === 8 ? quantiseBlock8 : quantiseBlock4
  for (let block = 0; block < numBlocks; block++) {
    scales[block] = quantiseBlock(weights, block * BLOCK_SIZE, data)
  }
  return { data, scales }
}

function extreme(weights: Float32Array, start: number): number {
  let value = 0
  for (let i = start; i < start + BLOCK_SIZE; i++) if (Math.abs(weights[i]!) > Math.abs(value)) value = weights[i]!
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

function quantiseBlock8(weights: Float32Array, start: number, data: Uint8Array): number {
  const scale = toScale(Math.abs(extreme(weights, start)) / 127)
  const inverse = scale === 0 ? 0 : 1 / scale
  for (let i = start; i < start + BLOCK_SIZE; i++) {
    data[i] = Math.max(-127, Math.min(127, Math.round(weights[i]! * inverse))) + 128
  }
  return scale
}

function quantiseBlock4(weights: Float32Array, start: number, data: Uint8Array): number {
  const scale = toScale(extreme(weights, start) / -8)
  const inverse = scale === 0 ? 0 : 1 / scale
  const level = (i: number): number => Math.max(0, Math.min(15, Math.round(weights[i]! * inverse) + 8))
  for (let i = start; i < start + BLOCK_SIZE; i += 2) data[i / 2] = level(i) | (level(i + 1) << 4)
  return scale
}
