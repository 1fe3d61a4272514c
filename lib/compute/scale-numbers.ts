// Scales in two bytes: bfloat16 numbers are ours, float16 ones come from files.

/** How a matrix's scales are written. */
export type ScaleNumbers = 'bfloat16' | 'float16'

/** What holds all scales exactly, the better first; nothing where neither does, or one is no number. */
export function numbersThatHold(scales: Float32Array): readonly ScaleNumbers[] {
  const words = new Uint32Array(scales.buffer, scales.byteOffset, scales.length)
  let [areBfloat16, areFloat16] = [true, true]
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    if ((word & 0x7f800000) === 0x7f800000) return []
    areBfloat16 &&= (word & 0xffff) === 0
    areFloat16 &&= isFloat16(scales[i]!, word & 0x7fffffff)
  }
  return [...(areBfloat16 ? (['bfloat16'] as const) : []), ...(areFloat16 ? (['float16'] as const) : [])]
}

/** Whether float16 holds a finite float32, whose bits without the sign are `size`, exactly. */
function isFloat16(value: number, size: number): boolean {
  if (size >= 0x47800000) return false // 65536 and more
  return size >= 0x38800000 ? (size & 0x1fff) === 0 : Number.isInteger(value * 2 ** 24) // below 2^-14: multiples of 2^-24
}
