// Bytes and relative error of a checkpoint's matrices in every weight format, by kind of matrix or one by one.

import { setImmediate as turn } from 'node:timers/promises'
import {
  nameOf,
  productsOf,
  productValues,
  reportProduct,
  type MatrixReport,
  type ProductRef,
} from '../../lib/compute/matrix-report.js'
import { isQuantisable } from '../../lib/compute/quantise.js'
import { inTurns } from '../../lib/compute/steps.js'
import { checkEmbedding } from '../../lib/decode/embedding.js'
import { ClusterError } from '../../lib/errors.js'
import { tensorRefs, type Checkpoint } from '../../lib/model/checkpoint.js'
import type { ModelSpec, TensorRef, WeightFormat } from '../../lib/model/spec.js'
import { sizeOf } from '../../lib/model/stored-tensor.js'
import { perFormat, WEIGHT_FORMATS } from '../../lib/model/weight-formats.js'
import { createProgress, table } from '../terminal.js'

/** Values that are measured unless all are asked for: a second or two. */
const QUICK_VALUES = 9_000_000

/** What a format makes of the measured matrices of a kind. */
export interface KindInFormat {
  readonly bytes: number
  readonly meanError: number
  readonly worstError: number
  readonly blockSizes: readonly number[] // that occur, ascending; none: floats
}

export interface MatrixKind {
  readonly kind: string
  readonly matrices: number
  readonly measured: number
  readonly formats: Readonly<Record<WeightFormat, KindInFormat>>
}

export interface MeasuredMatrices {
  readonly kinds: readonly MatrixKind[]
  readonly each: readonly MatrixReport[] // measured
  readonly float32: readonly string[] // of all, whose inputs are no whole blocks: float32 in every format
}

export interface MeasureOptions {
  readonly isComplete: boolean
  readonly signal: AbortSignal
}

/** Measures all matrices, or of a large model an even choice. Throws `cancelled` once the signal has gone off. */
export async function measureMatrices(checkpoint: Checkpoint, options: MeasureOptions): Promise<MeasuredMatrices> {
  const products = productsOf(checkpoint.spec)
  const chosen = options.isComplete ? products : evenChoice(products)
  const progress = createProgress(
    'matrices',
    chosen.reduce((sum, { matrices }) => sum + matrices.length, 0),
  )
  const each: MatrixReport[] = []
  try {
    if (options.isComplete || sizeOf(checkpoint.spec.embedding.shape) <= QUICK_VALUES)
      await inTurns(checkEmbedding(checkpoint), () => turn())
    for (const ref of othersThan(products, checkpoint.spec))
      if (options.isComplete || sizeOf(ref.shape) <= QUICK_VALUES) checkpoint.tensor(ref)
    for (const product of chosen) {
      if (options.signal.aborted) throw new ClusterError('cancelled', 'inspect: interrupted')
      each.push(...reportProduct(checkpoint, product))
      progress.step(product.matrices.length)
      await turn() // the bar moves, signals are heard
    }
  } finally {
    progress.stop()
  }
  const float32 = products
    .flatMap(({ matrices }) => matrices)
    .filter(({ ref }) => !isQuantisable(ref.weight.shape[1] ?? 0))
    .map(({ ref }) => nameOf(ref))
  return { kinds: kindsOf(products, each), each, float32 }
}

/** Norms, gates, biases, sinks: read for what is not finite in them. */
function othersThan(products: readonly ProductRef[], spec: ModelSpec): readonly TensorRef[] {
  const measured = new Set(products.flatMap(({ matrices }) => matrices.map(({ ref }) => ref.weight)))
  return tensorRefs(spec).filter((ref) => !measured.has(ref) && ref !== spec.embedding)
}

/** Every n-th product of each kind, of those that are small enough. */
function evenChoice(products: readonly ProductRef[]): readonly ProductRef[] {
  const small = products.filter((product) => productValues(product) <= QUICK_VALUES)
  const values = small.reduce((sum, product) => sum + productValues(product), 0)
  const stride = Math.max(1, Math.ceil(values / QUICK_VALUES))
  const seen = new Map<string, number>()
  return small.filter(({ matrices: [first] }) => {
    const kind = first?.kind ?? ''
    const before = seen.get(kind) ?? 0
    seen.set(kind, before + 1)
    return before % stride === 0
  })
}

function kindsOf(products: readonly ProductRef[], each: readonly MatrixReport[]): readonly MatrixKind[] {
  const counts = new Map<string, number>()
  for (const { kind } of products.flatMap(({ matrices }) => matrices)) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return [...counts].map(([kind, matrices]) => {
    const measured = each.filter((matrix) => matrix.kind === kind)
    return {
      kind,
      matrices,
      measured: measured.length,
      formats: perFormat((format) => summarise(measured, format)),
    }
  })
}

function summarise(matrices: readonly MatrixReport[], format: WeightFormat): KindInFormat {
  const of = matrices.map(({ formats }) => formats[format])
  const errors = of.map(({ relativeError }) => relativeError)
  const sizes = of.map(({ blockSize }) => blockSize).filter((size) => size !== null)
  return {
    bytes: of.reduce((sum, { bytes }) => sum + bytes, 0),
    meanError: errors.reduce((sum, error) => sum + error, 0) / Math.max(1, errors.length),
    worstError: Math.max(0, ...errors),
    blockSizes: [...new Set(sizes)].sort((a, b) => a - b),
  }
}

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0)} kB`
const percent = (share: number): string =>
  share === Infinity ? 'not all in its range' : `${(share * 100).toFixed(2)} %`

/** A table by kind, or of every matrix. */
export function describeMatrices({ kinds, each, float32 }: MeasuredMatrices, isComplete: boolean): string {
  const rows = isComplete ? each.map(matrixRow) : kinds.map(kindRow)
  const note = isComplete
    ? 'kB, relative error ‖W − Ŵ‖ / ‖W‖, weights per scale'
    : 'kB, mean (worst) relative error ‖W − Ŵ‖ / ‖W‖, weights per scale; --matrices: one by one'
  const kept = isComplete ? float32.join(', ') : firstOf(float32, '--matrices')
  const rest = kept === '' ? [] : [`float32 in every format, their inputs being no multiple of 32: ${kept}`]
  return [table([['matrices', '', ...WEIGHT_FORMATS], ...rows]), note, ...rest].join('\n')
}

const MAX_LISTED = 16

/** Names, of many the first ones. The flag is what shows all. */
export function firstOf(names: readonly string[], flag: string): string {
  const more = names.length - MAX_LISTED
  return names.slice(0, MAX_LISTED).join(', ') + (more > 0 ? ` and ${more} more (${flag}: all)` : '')
}

function kindRow({ kind, matrices, measured, formats }: MatrixKind): readonly string[] {
  const cells = WEIGHT_FORMATS.map((format) => {
    const { bytes, meanError, worstError, blockSizes } = formats[format]
    if (measured === 0) return ''
    if (worstError === 0 && blockSizes.length === 0) return kilobytes(bytes)
    const cell = `${kilobytes(bytes)}, ${percent(meanError)} (${percent(worstError)})`
    const [smallest, largest] = [blockSizes[0], blockSizes.at(-1)]
    if (smallest === undefined) return cell
    return `${cell}, ${smallest === largest ? `${largest}` : `${smallest}–${largest}`}`
  })
  const count = measured === matrices ? `${matrices}` : `${measured} of ${matrices}`
  return [kind, count, ...cells]
}

function matrixRow({ name, outputs, inputs, formats }: MatrixReport): readonly string[] {
  const cells = WEIGHT_FORMATS.map((format) => {
    const { bytes, blockSize, relativeError } = formats[format]
    if (relativeError === 0 && blockSize === null) return kilobytes(bytes)
    return [kilobytes(bytes), percent(relativeError), ...(blockSize === null ? [] : [blockSize])].join(', ')
  })
  return [name, `${outputs}×${inputs}`, ...cells]
}
