// Number formats of GGUF tensors by the number that the file has for them: those that are read, and the names of the
// others, to refuse them by name. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

export interface GgufFormat {
  readonly id: number
  readonly values: number // of a block
  readonly bytes: number // of a block
}

export const GGUF_FORMATS = {
  F32: { id: 0, values: 1, bytes: 4 },
  F16: { id: 1, values: 1, bytes: 2 },
  Q4_0: { id: 2, values: 32, bytes: 18 },
  Q4_1: { id: 3, values: 32, bytes: 20 },
  Q5_0: { id: 6, values: 32, bytes: 22 },
  Q5_1: { id: 7, values: 32, bytes: 24 },
  Q8_0: { id: 8, values: 32, bytes: 34 },
  Q4_K: { id: 12, values: 256, bytes: 144 },
  Q5_K: { id: 13, values: 256, bytes: 176 },
  Q6_K: { id: 14, values: 256, bytes: 210 },
  BF16: { id: 30, values: 1, bytes: 2 },
  MXFP4: { id: 39, values: 32, bytes: 17 },
} as const satisfies Record<string, GgufFormat>

export type GgufFormatName = keyof typeof GGUF_FORMATS

const OTHERS: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  40: 'NVFP4',
  41: 'Q1_0',
}

const NAMES = new Map<number, GgufFormatName>(
  Object.entries(GGUF_FORMATS).map(([name, { id }]) => [id, name as GgufFormatName]), // its own keys
)

/** The format of a number, where it is read. */
export const formatOf = (id: number): GgufFormatName | undefined => NAMES.get(id)

/** What a number that is not read stands for. */
export const otherFormat = (id: number): string => OTHERS[id] ?? `type ${id}`

export const encodedBytes = (format: GgufFormatName, numValues: number): number =>
  (numValues / GGUF_FORMATS[format].values) * GGUF_FORMATS[format].bytes
