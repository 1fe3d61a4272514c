// Decides, where a process starts, which kernels keep a row's bits whatever the rows beside it, and names the device
// class by a hash over the probe's outputs: equal names, interchangeable workers.
//
// Invariants
//   D1  A kernel that differs only at one row is called with two (`minRows`); one that differs otherwise is not used.
//   D2  The name depends on the processor's arithmetic and the engine, not on thread count or load.

import { createHash, type Hash } from 'node:crypto'
import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import type { HeadGeometry } from './attention-core.js'
import { probeAttention } from './attention-probe.js'
import { rotated } from './attention-projection.js'
import { createExpertLayer, packExpert } from './expert-layer.js'
import { GraphBuilder } from './graph.js'
import { floatWeight, linear, packLinear, rmsNorm, type LinearWeights } from './linear.js'
import { probeValues, sameBits } from './probe-values.js'
import { createSession, ENGINE_VERSION, type Inputs } from './session.js'

export type Exactness = 'exact' | 'exact-from-two-rows' | 'inexact'

export interface KernelReport {
  readonly kernel: string
  readonly exactness: Exactness
}

export interface DeviceReport {
  readonly deviceClass: string // e.g. 'cpu-1f3a…'
  readonly engine: string
  readonly kernels: readonly KernelReport[]
  /** Rows that a weight product is never called below. */
  readonly minRows: 1 | 2
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

const DEFAULT_GEOMETRY: readonly HeadGeometry[] = [
  { numHeads: 6, numKvHeads: 2, headDim: 32 },
  { numHeads: 4, numKvHeads: 4, headDim: 64 },
]

export interface ProbeOptions {
  readonly formats: readonly WeightFormat[]
  readonly geometries?: readonly HeadGeometry[]
  readonly threads?: number
}

/** Reports by options: the processor of a process does not change, so several workers in one process probe once. */
const reports = new Map<string, DeviceReport>()

/** Runs every kernel in use on a fixed probe. Takes well under a second. */
export function probeDevice(options: ProbeOptions): DeviceReport {
  const key = JSON.stringify(options)
  const report = reports.get(key) ?? runProbe(options)
  reports.set(key, report)
  return report
}

function runProbe(options: ProbeOptions): DeviceReport {
  const hash = createHash('sha256').update(ENGINE_VERSION)
  const kernels: KernelReport[] = []
  for (const format of ['f32', 'int8', 'int4'] as const) {
    const report = probeFfn(format, options.threads ?? 1, hash)
    if (format === 'f32' || options.formats.includes(format)) kernels.push(report)
  }
  kernels.push(probeNorm(hash), probeRotation(hash))
  for (const geometry of DEFAULT_GEOMETRY) probeAttention(geometry, hash)
  for (const geometry of options.geometries ?? DEFAULT_GEOMETRY) kernels.push(probeAttention(geometry))
  const minRows = kernels.some((kernel) => kernel.exactness === 'exact-from-two-rows') ? 2 : 1
  return { deviceClass: `cpu-${hash.digest('hex').slice(0, 12)}`, engine: ENGINE_VERSION, kernels, minRows }
}

/** Throws `failed_precondition` naming the first kernel that cannot keep a row's bits on this processor. */
export function requireExact(report: DeviceReport): void {
  const broken = report.kernels.find((kernel) => kernel.exactness === 'inexact')
  if (broken !== undefined) {
    throw new ClusterError(
      'failed_precondition',
      `${broken.kernel}: want the same bits for a row at every batch size, got different ones on this processor; choose another --weights`,
    )
  }
}

function probeLinear(inputs: number, outputs: number, seed: number): LinearWeights {
  return { weights: probeValues(inputs * outputs, seed, 0.2), inputs, outputs }
}

function probeFfn(format: WeightFormat, threads: number, hash: Hash): KernelReport {
  const found: Exactness[] = []
  for (const [hidden, inner] of [
    [64, 48],
    [192, 192],
    [256, 1024],
  ] as const) {
    const expert = {
      gate: probeLinear(hidden, inner, 11),
      up: probeLinear(hidden, inner, 12),
      down: probeLinear(inner, hidden, 13),
    }
    const set = packExpert('0', expert, format)
    const layer = createExpertLayer({ set, names: ['0'], hidden, minRows: 1, threads })
    const compute: RowWise = (x, rows) => {
      const places = Int32Array.from({ length: rows }, (_, row) => row)
      return layer.compute({ x, counts: Int32Array.of(rows), rows: places, weights: new Float32Array(rows).fill(1) })
    }
    const wide = new GraphBuilder()
    const x = wide.input('x', ['rows', hidden])
    const packed = packLinear('wide', probeLinear(hidden, 3 * hidden, 14), format)
    wide.output(linear(wide, x, packed, 'wide'), 'y', ['rows', 3 * hidden])
    found.push(rowExactness(compute, hidden, hash), rowExactness(rowWise(wide, hidden, threads), hidden, hash))
    layer.dispose()
  }
  return { kernel: format === 'f32' ? 'MatMul f32' : `MatMulNBits ${format}`, exactness: worst(found) }
}

function probeNorm(hash: Hash): KernelReport {
  const found: Exactness[] = []
  for (const width of [16, 33, 192, 1000]) {
    const graph = new GraphBuilder()
    const x = graph.input('x', ['rows', width])
    graph.output(rmsNorm(graph, x, floatWeight(probeValues(width, 5), [width]), 1e-6), 'y', ['rows', width])
    found.push(rowExactness(rowWise(graph, width), width, hash))
  }
  return { kernel: 'RMS norm', exactness: worst(found) }
}

/** Two heads of width 32, every row with tables of its own. */
function probeRotation(hash: Hash): KernelReport {
  const half = 16
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', 4 * half])
  const cos = graph.input('cos', ['rows', half])
  const sin = graph.input('sin', ['rows', half])
  const places = graph.input('places', [1, 'rows'], 'int64')
  graph.output(rotated(graph, x, 4 * half, { cos, sin, places }), 'y', ['rows', 4 * half])
  const [cosines, sines] = [probeValues(ROWS * half, 21, 2), probeValues(ROWS * half, 22, 2)]
  const tables = (first: number, count: number): Inputs => ({
    cos: { data: cosines.subarray(first * half, (first + count) * half), dims: [count, half] },
    sin: { data: sines.subarray(first * half, (first + count) * half), dims: [count, half] },
    places: { data: BigInt64Array.from({ length: count }, (_, i) => BigInt(i)), dims: [1, count] },
  })
  return { kernel: 'rotary embedding', exactness: rowExactness(rowWise(graph, 4 * half, 1, tables), 4 * half, hash) }
}

const worst = (found: readonly Exactness[]): Exactness =>
  found.includes('inexact') ? 'inexact' : found.includes('exact-from-two-rows') ? 'exact-from-two-rows' : 'exact'

/** Computes rows of x: [rows, width] → [rows, outputs]; `first` is the place of the first in the probe's batch. */
type RowWise = (x: Float32Array, rows: number, first: number) => Float32Array

/** A graph from x to y as a function; its session lives as long as the process. */
function rowWise(
  graph: GraphBuilder,
  width: number,
  threads = 1,
  more: (first: number, count: number) => Inputs = () => ({}),
): RowWise {
  const session = createSession(graph.build('probe'), threads)
  return (data, rows, first) => {
    const { y } = session.run({ x: { data, dims: [rows, width] }, ...more(first, rows) })
    return y ?? new Float32Array(0)
  }
}

/** Compares the bits of rows run alone and in company. */
function rowExactness(compute: RowWise, width: number, hash: Hash): Exactness {
  const x = probeValues(ROWS * width, 7, 4)
  const run = (first: number, count: number): Float32Array =>
    compute(x.subarray(first * width, (first + count) * width), count, first)
  const all = run(0, ROWS)
  const outputs = all.length / ROWS
  hash.update(new Uint8Array(all.buffer, all.byteOffset, all.byteLength))
  let result: Exactness = 'exact'
  for (const [first, count] of SUBSETS) {
    if (sameBits(run(first, count), all.subarray(first * outputs, (first + count) * outputs))) continue
    result = worst([result, count === 1 ? 'exact-from-two-rows' : 'inexact'])
  }
  return result
}
