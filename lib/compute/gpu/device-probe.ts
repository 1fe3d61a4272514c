// Finds out, where a process starts, with how many rows a device's kernels give a row the same bits whatever the rows
// beside it, and names the device class by a hash over the probe's outputs: equal names, interchangeable workers.
//
// Invariants
//   D1  A kernel that gives a row other bits in other company at every number of rows tried is not used.
//   D2  The name depends on the device, its driver and the engine, not on the model or its weight format.

import { createHash, type Hash } from 'node:crypto'
import { ClusterError } from '../../errors.js'
import type { WeightFormat } from '../../model/spec.js'
import type { DeviceReport, KernelReport } from '../device-class.js'
import { floatInput } from '../expert-call.js'
import type { LinearWeights } from '../linear-weights.js'
import { probeValues, sameBits } from '../probe-values.js'
import { ENGINE_VERSION, type Provider } from '../session.js'
import { deviceExperts } from './device-experts.js'
import { createDeviceLmHead, packDeviceLmHead } from './device-lm-head.js'
import { inOneGo } from '../steps.js'

/** Of the graphs and their layouts: part of the device class. */
const ENGINE = `${ENGINE_VERSION} banyan-graphs-1`

const ROWS = 128
const SUBSETS: readonly (readonly [first: number, count: number])[] = [
  [0, 1],
  [9, 1],
  [0, 2],
  [5, 3],
  [100, 8],
  [0, 17],
  [33, 33],
  [50, 70],
]
const LEAST_ROWS = [1, 2, 4, 8, 16, 32]

export interface FfnShape {
  readonly hidden: number
  readonly inner: number
}

const DEFAULT_SHAPE: FfnShape = { hidden: 64, inner: 96 }

export interface DeviceProbeOptions {
  readonly formats: readonly WeightFormat[]
  readonly shapes?: readonly FfnShape[] // of the model's experts: a device may choose a kernel by shape
}

/** With how many rows at least each kernel is exact. */
export interface DeviceProbe extends DeviceReport {
  readonly leastRows: Readonly<Record<'experts' | 'head', number>>
}

/** What was found, by device: several workers in one process probe once. */
const found = new Map<Provider, Found>()

/** Formats that a device computes with: `MatMulNBits` has one block size for all. */
type DeviceFormat = Exclude<WeightFormat, 'int8-auto' | 'int4-auto'>

interface Found {
  readonly deviceClass: string
  readonly basics: Readonly<Record<DeviceFormat, Readonly<Record<'experts' | 'head', number>>>>
  readonly shapes: Map<string, number> // experts by format and shape
}

/** Throws `failed_precondition` where there is no such device, `unimplemented` for formats that devices do not have. */
export function probeProvider(provider: Provider, { formats: wanted, shapes = [] }: DeviceProbeOptions): DeviceProbe {
  const formats = wanted.map((format) => deviceFormat(provider, format))
  const known = found.get(provider) ?? probeBasics(provider)
  found.set(provider, known)
  const shaped = (format: WeightFormat, shape: FfnShape): number => {
    const key = JSON.stringify([format, shape])
    const least = known.shapes.get(key) ?? probeExperts(provider, format, shape)
    known.shapes.set(key, least)
    return least
  }
  const experts = formats.map((format) =>
    Math.max(known.basics[format].experts, ...shapes.map((shape) => shaped(format, shape))),
  )
  const heads = formats.map((format) => known.basics[format].head)
  return {
    deviceClass: known.deviceClass,
    engine: ENGINE,
    kernels: [
      ...formats.map((format, i) => reportOf(`experts ${format}`, experts[i]!)),
      ...formats.map((format, i) => reportOf(`LM head ${format}`, heads[i]!)),
    ],
    leastRows: { experts: Math.max(...experts), head: Math.max(...heads) },
  }
}

function deviceFormat(provider: Provider, format: WeightFormat): DeviceFormat {
  if (format !== 'int8-auto' && format !== 'int4-auto') return format
  throw new ClusterError(
    'unimplemented',
    `${provider}: want --weights f32, int8 or int4, got ${format}: blocks sized per matrix are for the CPU`,
  )
}

function probeBasics(provider: Provider): Found {
  const hash = createHash('sha256').update(ENGINE)
  const probe = (format: WeightFormat) => ({
    experts: probeExperts(provider, format, DEFAULT_SHAPE, hash),
    head: probeHead(provider, format, hash),
  })
  const basics = { f32: probe('f32'), int8: probe('int8'), int4: probe('int4') } // in the order of the name
  return { deviceClass: `${provider.split(':')[0]}-${hash.digest('hex').slice(0, 12)}`, basics, shapes: new Map() }
}

const reportOf = (kernel: string, leastRows: number): KernelReport =>
  leastRows === Infinity ? { kernel, exactness: 'inexact' } : { kernel, exactness: 'exact', leastRows }

const probeLinear = (inputs: number, outputs: number, seed: number): LinearWeights => ({
  weights: probeValues(inputs * outputs, seed, 0.2),
  inputs,
  outputs,
})

function probeExperts(provider: Provider, format: WeightFormat, { hidden, inner }: FfnShape, hash?: Hash): number {
  const engine = deviceExperts({ provider, hidden, leastRows: 1 })
  const weights = {
    gate: probeLinear(hidden, inner, 11),
    up: probeLinear(hidden, inner, 12),
    down: probeLinear(inner, hidden, 13),
  }
  const expert = engine.place(inOneGo(engine.pack('0', weights, format)), '0')
  const least = leastExactRows(hidden, hash, (x, numRows) => {
    const rows = Array.from({ length: numRows }, (_, row) => row)
    const calls = [{ expert, rows, weights: rows.map(() => 1) }]
    return engine.compute({ input: floatInput(x, hidden), hidden, calls, sums: rows.map((row) => [row]) })
  })
  expert.dispose()
  engine.dispose()
  return least
}

function probeHead(provider: Provider, format: WeightFormat, hash: Hash): number {
  const [hidden, vocabSize] = [96, 250]
  const set = packDeviceLmHead({ norm: probeValues(hidden, 5), head: probeLinear(hidden, vocabSize, 14) }, format)
  const head = createDeviceLmHead(set, { provider, hidden, vocabSize, epsilon: 1e-6, leastRows: 1 })
  const least = leastExactRows(hidden, hash, (x, numRows) => {
    const logits = head.run(
      x,
      Array.from({ length: numRows }, (_, row) => row),
    )
    return Float32Array.from(logits.flatMap((row) => [...row]))
  })
  head.dispose()
  return least
}

/** The least number of rows from which on a row's bits are the same in any company; Infinity: none of those tried. */
export function leastExactRows(
  width: number,
  hash: Hash | undefined,
  compute: (x: Float32Array, rows: number) => Float32Array,
): number {
  const x = probeValues(ROWS * width, 7, 4)
  const all = compute(x, ROWS)
  const outputs = all.length / ROWS
  hash?.update(new Uint8Array(all.buffer, all.byteOffset, all.byteLength))
  const isExactWith = (least: number): boolean =>
    SUBSETS.every(([first, count]) => {
      const padded = new Float32Array(Math.max(count, least) * width)
      padded.set(x.subarray(first * width, (first + count) * width))
      const y = compute(padded, padded.length / width).subarray(0, count * outputs)
      return sameBits(y, all.subarray(first * outputs, (first + count) * outputs))
    })
  return LEAST_ROWS.find(isExactWith) ?? Infinity
}
