// Which device a service computes on, from its setting.

import { ClusterError } from '../../errors.js'
import type { Provider } from '../session.js'
import { findAdapters, isHardware, type Adapter } from './adapters.js'

/** As in the setting: auto, cpu, webgpu, cuda or cuda:n. */
export type DeviceSetting = string

/** `auto` is webgpu where a driver names a GPU that is no software, else cpu; `cuda` is its first device. */
export function chooseDevice(setting: DeviceSetting, adapters: () => readonly Adapter[] = findAdapters): Provider {
  if (setting === 'webgpu' || setting === 'cpu') return setting
  if (setting === 'auto') return adapters().some(isHardware) ? 'webgpu' : 'cpu'
  return `cuda:${Number(setting.split(':')[1] ?? 0)}`
}

export interface Openings<T> {
  readonly onCpu: () => T
  readonly onDevice: (provider: Exclude<Provider, 'cpu'>) => Promise<T>
  readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void
}

/** Opens what computes on the device of the setting. Throws what opening it throws; `auto` then takes the CPU, with a word. */
export async function openOnDevice<T>(setting: DeviceSetting, { onCpu, onDevice, warn }: Openings<T>): Promise<T> {
  const device = chooseDevice(setting)
  if (device === 'cpu') return onCpu()
  try {
    return await onDevice(device)
  } catch (error) {
    if (setting !== 'auto') throw error
    const { message: why } = ClusterError.from(error)
    warn({ device, why }, 'the GPU that was found cannot be used: computing on the CPU')
    return onCpu()
  }
}
