// Checks, where a process starts, that the kernels keep a row's bits whatever the rows beside it, and names the device
// class by a hash over the probe's outputs: equal names, interchangeable workers.
//
// Invariants
//   D1  A kernel that gives a row other bits in other company is not used.
//   D2  The name depends on the arithmetic and the engine, not on thread count, load or the formats in use. For the CPU
//       engine that makes it one name on every processor; the probe is there to show it.

import { createHash, type Hash } from 'node:crypto'
import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import type { StoredBlocks } from '../model/stored-tensor.js'
import { integerFormat } from '../model/weight-formats.js'
import { probeAttention } from './attention-probe.js'
import { floatInput } from './expert-call.js'
import { computeExperts, packExpert, placeExpert } from './expert-layer.js'
import type { Kernels } from './kernels.js'
import type { LinearWeights } from './linear-weights.js'
import { createLmHead, packLmHead } from './lm-head.js'
import type { ProbedAttention } from './probe-layer.js'
import { probeValues, sameBits } from './probe-values.js'
import { quantise } from './quantise.js'
import { inOneGo } from './steps.js'

/** Of the kernels and their layouts: part of the device class. */
export const ENGINE_VERSION = 'banyan-wasm-1'

export interface KernelReport {
  readonly kernel: string
  readonly exactness: 'exact' | 'inexact'
  readonly leastRows?: number // with which a device's kernel is exact: fewer are filled up
}

export interface DeviceReport {
  readonly deviceClass: string // e.g. 'cpu-1f3a…'
  readonly engine: string
  readonly kernels: readonly KernelReport[]
}

const ROWS = 17
const SUBSETS: readonly (readonly [first: number, count: number])[] = [
  [0, 1],
  [9, 1],
  [0, 2],
  [5, 3],
  [0, 8],
  [8, 8],
]

const DEFAULT_ATTENTIONS: readonly ProbedAttention[] = [
  { numHeads: 6, numKvHeads: 2, headDim: 32 },
  { numHeads: 4, numKvHeads: 4, headDim: 64 },
]

export interface ProbeOptions {
  readonly formats: readonly WeightFormat[]
  readonly attentions?: readonly ProbedAttention[]
}

/** What was found, by engine: its kernels do not change, so several workers in one process probe once. */
const found = new WeakMap<Kernels, Found>()

interface Found {
  readonly basics: Basics
  readonly attentions: Map<string, KernelReport>
  readonly layouts: Map<WeightFormat, readonly KernelReport[]> // that the formats in use have besides
}

/** Formats whose kernels name the class, in this order. */
const NAMING = ['f32', 'int8', 'int4'] as const

/** The kernels that name the class. */
interface Basics {
  readonly deviceClass: string
  readonly kernels: Readonly<Record<(typeof NAMING)[number], readonly KernelReport[]>>
}

/** Runs every kernel on a fixed probe. Takes well under a second. */
export function probeDevice(engine: Kernels, { formats, attentions = DEFAULT_ATTENTIONS }: ProbeOptions): DeviceReport {
  const known: Found = found.get(engine) ?? { basics: probeBasics(engine), attentions: new Map(), layouts: new Map() }
  found.set(engine, known)
  const reports = attentions.map((attention) => {
    const key = JSON.stringify(attention)
    const report = known.attentions.get(key) ?? probeAttention(engine, attention)
    known.attentions.set(key, report)
    return report
  })
  const { deviceClass, kernels } = known.basics
  const wanted = NAMING.filter((format) => format === 'f32' || formats.includes(format))
  const layouts = formats.flatMap((format) => {
    const reports = known.layouts.get(format) ?? probeLayouts(engine, format)
    known.layouts.set(format, reports)
    return reports
  })
  return {
    deviceClass,
    engine: ENGINE_VERSION,
    kernels: [...wanted.flatMap((format) => kernels[format]), ...layouts, ...reports],
  }
}

function probeBasics(engine: Kernels): Basics {
  const hash = createHash('sha256').update(ENGINE_VERSION)
  const probe = (format: WeightFormat) => [probeExperts(engine, format, hash), probeHead(engine, format, hash)]
  const [f32, int8, int4] = [probe('f32'), probe('int8'), probe('int4')]
  for (const attention of DEFAULT_ATTENTIONS) probeAttention(engine, attention, hash)
  return { deviceClass: `cpu-${hash.digest('hex').slice(0, 12)}`, kernels: { f32, int8, int4 } }
}

/** Throws `failed_precondition` naming the first kernel that cannot keep a row's bits on this processor. */
export function requireExact(report: DeviceReport): void {
  const broken = report.kernels.find(({ exactness }) => exactness === 'inexact')
  if (broken !== undefined) {
    throw new ClusterError(
      'failed_precondition',
      `${broken.kernel}: want the same bits for a row at every batch size, got different ones on this device; choose another --weights`,
    )
  }
}

/** What a format has besides the kernels that name the class: float16; scales of a file's blocks, scales of several blocks. */
function probeLayouts(engine: Kernels, format: WeightFormat): readonly KernelReport[] {
  if (format === 'f16') return [probeExperts(engine, format), probeHead(engine, format)]
  const integers = integerFormat(format)
  if (integers === undefined) return []
  const { bits, isAdaptive } = integers
  const grouped = isAdaptive ? [probeHead(engine, format), probeExperts(engine, format)] : []
  const kept = probeHead(engine, format, undefined, (layer) => ({ ...layer, blocks: float16Blocks(layer, bits) }))
  return [...grouped, { ...kept, kernel: `${kept.kernel} of stored blocks` }]
}

/** Blocks as files hold them: their scales are float16 numbers, and no bfloat16 ones. */
function float16Blocks({ weights }: LinearWeights, bits: 4 | 8): StoredBlocks {
  const { data, scales } = quantise(weights, bits)
  const words = new Uint32Array(scales.buffer)
  for (let i = 0; i < words.length; i++) words[i]! |= 1 << 13 // a float16's last bit
  return { bits, data, scales }
}

function probeLinear(inputs: number, outputs: number, seed: number): LinearWeights {
  return { weights: probeValues(inputs * outputs, seed, 0.2), inputs, outputs }
}

function probeExperts(kernels: Kernels, format: WeightFormat, hash?: Hash): KernelReport {
  let isExact = true
  for (const [hidden, inner] of [
    [64, 48],
    [192, 192],
    [256, 1024],
  ] as const) {
    const weights = {
      gate: probeLinear(hidden, inner, 11),
      up: probeLinear(hidden, inner, 12),
      down: probeLinear(inner, hidden, 13),
    }
    const expert = placeExpert(kernels, inOneGo(packExpert('0', weights, format)), '0')
    const compute: RowWise = (x, count) => {
      const rows = Array.from({ length: count }, (_, row) => row)
      const call = { expert, rows, weights: rows.map(() => 1) }
      return computeExperts(kernels, {
        input: floatInput(x, hidden),
        hidden,
        calls: [call],
        sums: rows.map((row) => [row]),
      }).slice()
    }
    isExact = isRowExact(compute, hidden, hash) && isExact
    expert.dispose()
  }
  return { kernel: `experts ${format}`, exactness: isExact ? 'exact' : 'inexact' }
}

function probeHead(
  kernels: Kernels,
  format: WeightFormat,
  hash?: Hash,
  prepare = (layer: LinearWeights): LinearWeights => layer,
): KernelReport {
  const [hidden, vocabSize] = [96, 250]
  const weights = { norm: probeValues(hidden, 5), head: prepare(probeLinear(hidden, vocabSize, 14)) }
  const set = inOneGo(packLmHead(weights, format))
  const head = createLmHead(kernels, set, { hidden, vocabSize, epsilon: 1e-6 })
  const compute: RowWise = (x, count) => {
    const logits = head.run(
      x,
      Array.from({ length: count }, (_, row) => row),
    )
    return Float32Array.from(logits.flatMap((row) => [...row]))
  }
  const isExact = isRowExact(compute, hidden, hash)
  head.dispose()
  return { kernel: `LM head ${format}`, exactness: isExact ? 'exact' : 'inexact' }
}

/** Computes rows of x: [rows, width] → [rows, outputs]. */
type RowWise = (x: Float32Array, rows: number) => Float32Array

/** Compares the bits of rows computed alone and in company. */
function isRowExact(compute: RowWise, width: number, hash?: Hash): boolean {
  const x = probeValues(ROWS * width, 7, 4)
  const run = (first: number, count: number): Float32Array =>
    compute(x.subarray(first * width, (first + count) * width), count)
  const all = run(0, ROWS)
  const outputs = all.length / ROWS
  hash?.update(new Uint8Array(all.buffer, all.byteOffset, all.byteLength))
  return SUBSETS.every(([first, count]) =>
    sameBits(run(first, count), all.subarray(first * outputs, (first + count) * outputs)),
  )
}
