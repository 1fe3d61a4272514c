// Scales in two bytes: bfloat16 numbers are ours, float16 ones come from files.

/** How a matrix's scales are written. */
export type ScaleNumbers = 'bfloat16' | 'float16'

/** What holds all scales exactly, the better first; nothing where neither does, or one is no number. */
export function numbersThatHold(scales: Float32Array): readonly ScaleNumbers[] {
  const bits = bitsOf(scales)
  if (!scales.every(Number.isFinite)) return []
  const fit: ScaleNumbers[] = []
  if (bits.every((value) => (value & 0xffff) === 0)) fit.push('bfloat16')
  if (scales.every((scale, i) => float16Bits(scale, bits[i]!) !== undefined)) fit.push('float16')
  return fit
}

const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length)

/** A float32 that float16 holds exactly; nothing for others, infinities and NaNs. */
function float16Bits(value: number, bits: number): number | undefined {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude >= 0x47800000) return undefined // 65536 and more
  if (magnitude >= 0x38800000) return (magnitude & 0x1fff) === 0 ? sign | ((magnitude - 0x38000000) >>> 13) : undefined
  const units = Math.abs(value) * 2 ** 24 // below 2^-14: multiples of 2^-24
  return Number.isInteger(units) ? sign | units : undefined
}
