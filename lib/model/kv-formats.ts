// How the KV cache keeps its numbers. They are rounded when a token is computed and widened exactly where attention reads
// them: an answer is a function of the format, like of the weights' format, and of nothing else that it changes.

export const KV_FORMATS = ['f32', 'f16'] as const

export type KvFormat = (typeof KV_FORMATS)[number]

/** Bytes of a number. */
export const kvNumberBytes = (format: KvFormat): number => (format === 'f16' ? 2 : 4)
