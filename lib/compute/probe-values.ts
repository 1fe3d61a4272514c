// Fixed inputs for probes, and the comparison of bits.

/** A small deterministic generator (xorshift32): the probe's inputs are the same everywhere. */
export function probeValues(length: number, seed: number, scale = 1): Float32Array {
  const values = new Float32Array(length)
  let state = seed >>> 0 || 1
  for (let i = 0; i < length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = ((state >>> 0) / 2 ** 32 - 0.5) * scale
  }
  return values
}

/** Whether two arrays hold the same bits (so -0 is not 0, and a NaN is itself). */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  return (
    a.length === b.length &&
    Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))
  )
}
