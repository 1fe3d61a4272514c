// The GPU side of `banyan doctor`: adapters, and what holds on each device that can be used.

import { existsSync, readdirSync } from 'node:fs'
import type { KernelReport } from '../../lib/compute/device-class.js'
import { findAdapters, isHardware, type Adapter } from '../../lib/compute/gpu/adapters.js'
import { probeProvider } from '../../lib/compute/gpu/device-probe.js'
import { hasCuda, CUDA_INSTALL, type Provider } from '../../lib/compute/session.js'
import { ClusterError } from '../../lib/errors.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { DEVICE_FORMATS } from '../../lib/model/weight-formats.js'

export interface Problem {
  readonly problem: string
  readonly advice: string
}

/** A device beside the CPU: its class and kernels, or why it cannot be used. */
export interface DeviceFound {
  readonly device: string
  readonly deviceClass: string // '' where it cannot be used
  readonly kernels: readonly KernelReport[]
  readonly refused: Readonly<Record<string, string>> // weight formats that it lacks, and why
  readonly problem?: string
}

export interface GpusFound {
  readonly gpus: readonly string[] // device nodes
  readonly adapters: readonly Adapter[] // by Vulkan
  readonly devices: readonly DeviceFound[]
  readonly problems: readonly Problem[]
}

const VULKAN_ADVICE =
  'install the Vulkan loader (Debian: libvulkan1) and the GPU’s Vulkan driver, and let this user open /dev/dri/renderD*'

/** Probes what can be used, which takes a moment per device. */
export function findGpus(): GpusFound {
  const nodes = existsSync('/dev/dri') ? readdirSync('/dev/dri').filter((name) => name.startsWith('renderD')) : []
  const hasNvidia = existsSync('/dev/nvidia0')
  const gpus = [...nodes.map((name) => `/dev/dri/${name}`), ...(hasNvidia ? ['/dev/nvidia0'] : [])]
  const adapters = findAdapters()
  const devices = [
    ...(adapters.length > 0 ? [probe('webgpu')] : []),
    ...(hasCuda() && hasNvidia ? [probe('cuda:0')] : []),
  ]
  const isUnseen = gpus.length > 0 && !adapters.some(isHardware)
  const broken = devices.filter(({ problem }) => problem !== undefined)
  return {
    gpus,
    adapters,
    devices,
    problems: [
      ...(isUnseen ? [{ problem: 'a GPU is present and no Vulkan driver names it', advice: VULKAN_ADVICE }] : []),
      ...broken.map(({ device, problem = '' }) => ({
        problem: `${device} cannot be used: ${problem}`,
        advice: 'compute with --device cpu, or another driver',
      })),
      ...devices.flatMap(inexact),
      ...(hasNvidia && !hasCuda()
        ? [{ problem: 'an NVIDIA GPU is present without the provider for cuda', advice: `${CUDA_INSTALL}` }]
        : []),
    ],
  }
}

/** A layer's attention where no model says otherwise. */
const ATTENTION = { hidden: 64, numHeads: 4, numKvHeads: 2, headDim: 32 }

function probe(device: Provider): DeviceFound {
  const kernelsOf = (formats: readonly WeightFormat[]) => probeProvider(device, { formats, attentions: [ATTENTION] })
  try {
    const { deviceClass, kernels } = kernelsOf(DEVICE_FORMATS.filter((format) => format !== 'f16'))
    const found = { device, deviceClass }
    try {
      return { ...found, kernels: [...kernels, ...kernelsOf(['f16']).kernels], refused: {} }
    } catch (error) {
      return { ...found, kernels, refused: { f16: ClusterError.from(error).message } } // not every device has float16
    }
  } catch (error) {
    return { device, deviceClass: '', kernels: [], refused: {}, problem: ClusterError.from(error).message }
  }
}

const inexact = ({ device, kernels }: DeviceFound): Problem[] =>
  kernels
    .filter(({ exactness }) => exactness === 'inexact')
    .map(({ kernel }) => ({
      problem: `${kernel} is not exact on ${device}`,
      advice: 'choose another --weights, or --device cpu',
    }))

/** Lines of two cells: each device with its class, and its kernels below. */
export const describeDevices = (devices: readonly DeviceFound[]): readonly (readonly string[])[] =>
  devices.flatMap(({ device, deviceClass, kernels, refused, problem }) => [
    [device, deviceClass === '' ? `cannot be used: ${problem ?? ''}` : deviceClass],
    ...kernels.map((kernel) => [`  ${kernel.kernel}`, describeExactness(kernel)]),
    ...Object.entries(refused).map(([format, why]) => [`  ${format}`, `refused: ${why}`]),
  ])

const describeExactness = ({ exactness, leastRows = 1 }: KernelReport): string =>
  leastRows > 1 ? `${exactness}, with ${leastRows} rows or more (fewer are filled up)` : exactness
