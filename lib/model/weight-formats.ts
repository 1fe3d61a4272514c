// What a weight format makes of each kind of matrix. Gate, norms, biases and embeddings are float32 in every format.
//
// Experts tolerate four bits better than attention and the LM head do (FineQuant), and are most of a model's bytes: so
// `int4-auto` keeps attention and head at eight.

import type { WeightFormat } from './spec.js'

export interface IntegerFormat {
  readonly bits: 4 | 8
  /** One scale for as many weights as the matrix allows, instead of one per block of 32. */
  readonly isAdaptive: boolean
}

const INTEGERS: Readonly<Record<WeightFormat, IntegerFormat | undefined>> = {
  f32: undefined,
  f16: undefined,
  int8: { bits: 8, isAdaptive: false },
  int4: { bits: 4, isAdaptive: false },
  'int8-auto': { bits: 8, isAdaptive: true },
  'int4-auto': { bits: 4, isAdaptive: true },
}

export const WEIGHT_FORMATS = [
  'f32',
  'f16',
  'int8',
  'int4',
  'int8-auto',
  'int4-auto',
] as const satisfies readonly WeightFormat[]

/** A value for each format. */
export const perFormat = <T>(valueOf: (format: WeightFormat) => T): Readonly<Record<WeightFormat, T>> =>
  Object.fromEntries(WEIGHT_FORMATS.map((format) => [format, valueOf(format)])) as Record<WeightFormat, T> // of all

/** What devices beside the CPU compute with: their products have one size of blocks for all matrices. */
export const DEVICE_FORMATS = ['f32', 'f16', 'int8', 'int4'] as const satisfies readonly WeightFormat[]
export type DeviceFormat = (typeof DEVICE_FORMATS)[number]
export const isForDevices = (format: WeightFormat): format is DeviceFormat =>
  DEVICE_FORMATS.some((known) => known === format)

/** The integers of a format; none: its numbers are floats. */
export const integerFormat = (format: WeightFormat): IntegerFormat | undefined => INTEGERS[format]

/** The format of attention's matrices and of the LM head, where experts have `format`. */
export const attentionFormat = (format: WeightFormat): WeightFormat => (format === 'int4-auto' ? 'int8-auto' : format)
