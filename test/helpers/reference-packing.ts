// What the packing kernels must give, weight by weight and in float64: levels, scales, errors and tiles.

export interface Integers {
  readonly levels: Int8Array // [rows, inputs], what the products multiply with
  readonly scales: Float32Array // [rows, groups]
}

export interface Grouping {
  readonly bits: 4 | 8
  readonly inputs: number
  readonly group: number // weights that share a scale, the last of a row maybe fewer
}

const RANGE = { 8: [-127, 127], 4: [-8, 7] } as const
const float = new Float32Array(1)
const word = new Uint32Array(float.buffer)

/** The nearest bfloat16 number that is not nearer to zero, of a float32. */
function awayFromZero(value: number): number {
  float[0] = value
  word[0] = (word[0]! + 0xffff) & 0xffff0000
  return float[0]
}

const rangesOf = (weights: Float32Array, { inputs, group }: Grouping): Float32Array[] =>
  Array.from({ length: weights.length / inputs }, (_, row) =>
    Array.from({ length: Math.ceil(inputs / group) }, (_, i) =>
      weights.subarray(row * inputs + i * group, row * inputs + Math.min(inputs, (i + 1) * group)),
    ),
  ).flat()

function scaleOf(range: Float32Array, bits: 4 | 8): number {
  const largest = range.reduce((most, weight) => (Math.abs(weight) > Math.abs(most) ? weight : most), 0)
  return awayFromZero(bits === 8 ? Math.abs(largest) / 127 : largest / -8)
}

function levelsOf(range: Float32Array, scale: number, bits: 4 | 8): number[] {
  const [lowest, highest] = RANGE[bits]
  const inverse = scale === 0 ? 0 : 1 / scale
  return Array.from(range, (weight) => Math.max(lowest, Math.min(highest, Math.round(weight * inverse))))
}

export function referenceIntegers(weights: Float32Array, grouping: Grouping): Integers {
  const ranges = rangesOf(weights, grouping)
  const scales = Float32Array.from(ranges, (range) => scaleOf(range, grouping.bits))
  const levels = ranges.flatMap((range, i) => levelsOf(range, scales[i]!, grouping.bits))
  return { levels: Int8Array.from(levels), scales }
}

/** ‖W − Ŵ‖ / ‖W‖, squares added range by range. */
export function referenceError(weights: Float32Array, grouping: Grouping): number {
  let [lost, all] = [0, 0]
  for (const range of rangesOf(weights, grouping)) {
    const scale = scaleOf(range, grouping.bits)
    const levels = levelsOf(range, scale, grouping.bits)
    let [lostHere, allHere] = [0, 0]
    range.forEach((weight, i) => {
      const difference = weight - levels[i]! * scale
      lostHere += difference * difference
      allHere += weight * weight
    })
    lost += lostHere
    all += allHere
  }
  return all === 0 ? 0 : Math.sqrt(lost / all)
}

/** Tiles of 16 outputs: per group two bytes of each scale, then by pairs of inputs the levels of all 16 outputs. */
export function referenceTiles(
  { levels }: Pick<Integers, 'levels'>,
  { bits, inputs, group }: Grouping,
  scaleBits: ArrayLike<number>,
): Uint8Array {
  const [rows, groups] = [levels.length / inputs, Math.ceil(inputs / group)]
  const tileBytes = groups * 32 + (inputs * 16 * bits) / 8
  const bytes = new Uint8Array(Math.ceil(rows / 16) * tileBytes)
  const view = new DataView(bytes.buffer)
  for (let row = 0; row < rows; row++) {
    const [tile, column] = [Math.floor(row / 16) * tileBytes, row % 16]
    for (let i = 0; i < groups; i++)
      view.setUint16(tile + i * (32 + (group * 16 * bits) / 8) + column * 2, scaleBits[row * groups + i]!, true)
    for (let input = 0; input < inputs; input++) {
      const level = levels[row * inputs + input]!
      const pairs = tile + (Math.floor(input / group) + 1) * 32 + (input >> 1) * 4 * bits
      if (bits === 8) bytes[pairs + column * 2 + (input & 1)] = level
      else {
        const at = pairs + (column & 3) * 4 + (input & 1) * 2 + (column >> 3)
        bytes[at]! |= (level + 8) << (((column >> 2) & 1) * 4)
      }
    }
  }
  return bytes
}
