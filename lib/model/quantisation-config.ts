// `quantization_config` of a configuration: whether the tensors are of a kind that is served, and FP8's block size.

import { ClusterError } from '../errors.js'
import { shown } from './shown.js'

type Json = Readonly<Record<string, unknown>>

const SERVED = ['fp8', 'fbgemm_fp8', 'mxfp4']
const PLAIN_FP8 = ['float-quantized', 'naive-quantized', 'dense'] // of compressed-tensors
const DEFAULT_BLOCK = [128, 128] as const

/** Rows and columns that share an FP8 scale. Throws `unimplemented` naming the method of other checkpoints. */
export function fp8BlockSize({ quantization_config: found }: Json, path: string): readonly [number, number] {
  if (found === undefined || found === null) return DEFAULT_BLOCK
  const config = (typeof found === 'object' ? found : {}) as Json // any object may be read by key; values are checked
  const { quant_method: method, format, weight_block_size: size } = config
  const isServed =
    SERVED.includes(String(method)) || (method === 'compressed-tensors' && PLAIN_FP8.includes(String(format)))
  if (!isServed) {
    const named = [method, ...(format === undefined ? [] : [format])].map(shown)
    throw new ClusterError(
      'unimplemented',
      `${path}: quantization_config: quant_method: want fp8, mxfp4 or none (then --weights chooses the format in memory), ` +
        `got ${named.join(' with format ')}`,
    )
  }
  if (size === undefined || size === null) return DEFAULT_BLOCK
  const [rows, columns, ...more] = Array.isArray(size) ? (size as unknown[]) : [] // checked just below
  if (isSize(rows) && isSize(columns) && more.length === 0) return [rows, columns]
  throw new ClusterError(
    'invalid_argument',
    `${path}: quantization_config: weight_block_size: want two sizes, got ${shown(size)}`,
  )
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0
