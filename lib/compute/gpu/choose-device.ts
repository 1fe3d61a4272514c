// Which device a service computes on, from its setting.

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
