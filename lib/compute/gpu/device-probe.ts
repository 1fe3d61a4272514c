// Finds out, where a process starts, with how many rows a device's kernels give a row the same bits whatever the rows
// beside it, and names the device class by a hash over the probe's outputs: equal names, interchangeable workers.
//
// Invariants
//   D1  A kernel that gives a row other bits in other company at every number of rows tried is not used.
//   D2  The name begins with what fixed shapes gave: the same for everybody on this device, driver and engine. Who computes
//       a model adds what its own shapes and format gave, since a device may choose a kernel by them.

import { ClusterError } from '../../errors.js'
import type { WeightFormat } from '../../model/spec.js'
import { DEVICE_FORMATS, isForDevices, type DeviceFormat } from '../../model/weight-formats.js'
import type { DeviceReport, KernelReport } from '../device-class.js'
import { floatInput } from '../expert-call.js'
import type { LinearWeights } from '../linear-weights.js'
import { probeValues } from '../probe-values.js'
import { ENGINE_VERSION, type Provider } from '../session.js'
import { inOneGo } from '../steps.js'
import { probeDeviceAttention, type AttentionProbeShape } from './attention-probe.js'
import { deviceExperts } from './device-experts.js'
import { createDeviceLmHead, packDeviceLmHead } from './device-lm-head.js'
import { digestOf, probeRows, type ProbedKernel } from './exact-rows.js'

/** Of the graphs and their layouts: part of the device class. */
const ENGINE = `${ENGINE_VERSION} banyan-graphs-1`

export interface FfnShape {
  readonly hidden: number
  readonly inner: number
}

const DEFAULT_SHAPE: FfnShape = { hidden: 64, inner: 96 }

export interface DeviceProbeOptions {
  readonly formats: readonly WeightFormat[]
  readonly shapes?: readonly FfnShape[] // of the model's experts
  readonly attentions?: readonly AttentionProbeShape[] // of the model's layers
}

/** With how many rows at least each kernel is exact; attention: 1 where none was asked for. */
export interface DeviceProbe extends DeviceReport {
  readonly leastRows: Readonly<Record<'experts' | 'head' | 'attention', number>>
}

/** What was found, by device: several workers in one process probe once. */
const found = new Map<Provider, Found>()

interface Found {
  readonly deviceClass: string
  readonly basics: Map<DeviceFormat, Basics> // of the formats that name the class, and of those asked for
  readonly shaped: Map<string, ProbedKernel> // by part, format and shape
}

type Basics = Readonly<Record<'experts' | 'head', ProbedKernel>>

/** Throws `failed_precondition` where there is no such device, `unimplemented` for formats that it does not have. */
export function probeProvider(provider: Provider, options: DeviceProbeOptions): DeviceProbe {
  const { formats: wanted, shapes = [], attentions = [] } = options
  const formats = wanted.map((format) => deviceFormat(provider, format))
  const known = found.get(provider) ?? probeBasics(provider)
  found.set(provider, known)
  const shaped = (key: readonly unknown[], probe: () => ProbedKernel): ProbedKernel => {
    const name = JSON.stringify(key)
    const kernel = known.shaped.get(name) ?? probe()
    known.shaped.set(name, kernel)
    return kernel
  }
  const basicsOf = (format: DeviceFormat): Basics => {
    const basics = known.basics.get(format) ?? probeFormat(provider, format)
    known.basics.set(format, basics)
    return basics
  }
  const own = formats.map((format) => ({
    basics: basicsOf(format),
    experts: shapes.map((shape) => shaped([format, shape], () => probeExperts(provider, format, shape))),
    attention: attentions.map((shape) =>
      shaped(['attention', format, shape], () => probeDeviceAttention(provider, format, shape)),
    ),
  }))
  const parts = {
    experts: own.map(({ basics, experts }) => [basics.experts, ...experts]),
    'LM head': own.map(({ basics }) => [basics.head]),
    attention: attentions.length === 0 ? [] : own.map(({ attention }) => attention),
  }
  const digests = own.flatMap(({ experts, attention }) => [...experts, ...attention]).map(({ digest }) => digest)
  return {
    deviceClass: digests.length === 0 ? known.deviceClass : `${known.deviceClass}-${digestOf(digests).slice(0, 8)}`,
    engine: ENGINE,
    kernels: Object.entries(parts).flatMap(([part, kernels]) =>
      kernels.map((probed, i) => reportOf(`${part} ${formats[i]!}`, leastRowsOf(probed))),
    ),
    leastRows: {
      experts: leastRowsOf(parts.experts.flat()),
      head: leastRowsOf(parts['LM head'].flat()),
      attention: leastRowsOf(parts.attention.flat()),
    },
  }
}

const leastRowsOf = (kernels: readonly ProbedKernel[]): number =>
  Math.max(1, ...kernels.map(({ leastRows }) => leastRows))

function deviceFormat(provider: Provider, format: WeightFormat): DeviceFormat {
  if (isForDevices(format)) return format
  throw new ClusterError(
    'unimplemented',
    `${provider}: want --weights ${DEVICE_FORMATS.join(', ')}, got ${format}, which is for the CPU`,
  )
}

const NAMING = ['f32', 'int8', 'int4'] as const // in the order of the name

const probeFormat = (provider: Provider, format: DeviceFormat): Basics => ({
  experts: probeExperts(provider, format, DEFAULT_SHAPE),
  head: probeHead(provider, format),
})

function probeBasics(provider: Provider): Found {
  const basics = new Map<DeviceFormat, Basics>(NAMING.map((format) => [format, probeFormat(provider, format)]))
  const digests = [...basics.values()].flatMap(({ experts, head }) => [experts.digest, head.digest])
  const name = digestOf([ENGINE, ...digests]).slice(0, 12)
  return { deviceClass: `${provider.split(':')[0]}-${name}`, basics, shaped: new Map() }
}

const reportOf = (kernel: string, leastRows: number): KernelReport =>
  leastRows === Infinity ? { kernel, exactness: 'inexact' } : { kernel, exactness: 'exact', leastRows }

const probeLinear = (inputs: number, outputs: number, seed: number): LinearWeights => ({
  weights: probeValues(inputs * outputs, seed, 0.2),
  inputs,
  outputs,
})

function probeExperts(provider: Provider, format: WeightFormat, { hidden, inner }: FfnShape): ProbedKernel {
  const engine = deviceExperts({ provider, hidden, leastRows: 1 })
  const weights = {
    gate: probeLinear(hidden, inner, 11),
    up: probeLinear(hidden, inner, 12),
    down: probeLinear(inner, hidden, 13),
  }
  const expert = engine.place(inOneGo(engine.pack('0', weights, format)), '0')
  const probed = probeRows(hidden, (x, numRows) => {
    const rows = Array.from({ length: numRows }, (_, row) => row)
    const calls = [{ expert, rows, weights: rows.map(() => 1) }]
    return engine.compute({ input: floatInput(x, hidden), hidden, calls, sums: rows.map((row) => [row]) })
  })
  expert.dispose()
  engine.dispose()
  return probed
}

function probeHead(provider: Provider, format: WeightFormat): ProbedKernel {
  const [hidden, vocabSize] = [96, 250]
  const set = packDeviceLmHead({ norm: probeValues(hidden, 5), head: probeLinear(hidden, vocabSize, 14) }, format)
  const head = createDeviceLmHead(set, { provider, hidden, vocabSize, epsilon: 1e-6, leastRows: 1 })
  const probed = probeRows(hidden, (x, numRows) => {
    const logits = head.run(
      x,
      Array.from({ length: numRows }, (_, row) => row),
    )
    return Float32Array.from(logits.flatMap((row) => [...row]))
  })
  head.dispose()
  return probed
}
