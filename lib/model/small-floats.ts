// Floating-point numbers of eight bits and fewer, by their codes. All are exact in float32.

/** Values of all codes of a format with a sign, `exponentBits` and the rest as fraction; no infinities among them. */
function valuesOf(bits: number, exponentBits: number): Float32Array {
  const fractionBits = bits - 1 - exponentBits
  const bias = 2 ** (exponentBits - 1) - 1
  return Float32Array.from({ length: 2 ** bits }, (_, code) => {
    const sign = code >> (bits - 1) === 0 ? 1 : -1
    const exponent = (code >> fractionBits) & (2 ** exponentBits - 1)
    const fraction = (code & (2 ** fractionBits - 1)) / 2 ** fractionBits
    return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias)
  })
}

/** E4M3 without infinities: the last code of each sign is NaN. */
export const FP8_E4M3 = valuesOf(8, 4).map((value, code) => ((code & 0x7f) === 0x7f ? NaN : value))

/** E5M2 has infinities and NaNs where IEEE 754 has them. */
export const FP8_E5M2 = valuesOf(8, 5).map((value, code) =>
  (code & 0x7c) !== 0x7c ? value : (code & 3) !== 0 ? NaN : Math.sign(value) * Infinity,
)

/** Exponents of two, for scales; the last code is NaN. */
export const FP8_E8M0 = Float32Array.from({ length: 256 }, (_, code) => (code === 255 ? NaN : 2 ** (code - 127)))

/** Values of the 16 codes of E2M1. */
export const FP4_E2M1 = valuesOf(4, 2)

/** Twice those values, which are whole numbers, as 8-bit levels. */
export const FP4_LEVELS = Uint8Array.from(FP4_E2M1, (value) => 2 * value + 128)

/** Half the scale of every exponent byte, which the doubled values take: exact in bfloat16, but for the last, NaN. */
export const HALF_E8M0 = FP8_E8M0.map((scale) => scale / 2)
