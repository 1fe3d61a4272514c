// The graphics adapters that this system's Vulkan drivers name: what WebGPU finds on Linux. A driver in software calls
// itself a CPU.

import { foreignInterface, type Foreign } from '../foreign.js'

export interface Adapter {
  readonly name: string
  readonly kind: 'discrete' | 'integrated' | 'virtual' | 'software' | 'other'
}

/** By VkPhysicalDeviceType. */
const KINDS: readonly Adapter['kind'][] = ['other', 'integrated', 'discrete', 'virtual', 'software']

/** None where there is no Vulkan loader, no driver, or another system than Linux. */
export function findAdapters(): readonly Adapter[] {
  const foreign = process.platform === 'linux' ? foreignInterface() : undefined
  try {
    return foreign === undefined ? [] : adaptersOf(foreign)
  } catch {
    return [] // no loader: the library or a function is missing
  }
}

export const isHardware = ({ kind }: Adapter): boolean => kind === 'discrete' || kind === 'integrated'

const CREATE_INFO_BYTES = 64
const STRUCTURE_TYPE_INSTANCE = 1
const POINTER_BYTES = 8
const PROPERTIES_BYTES = 4096 // of VkPhysicalDeviceProperties, with room
const KIND_AT = 16
const NAME_AT = 20

function adaptersOf({ load }: Foreign): readonly Adapter[] {
  const vulkan = load('libvulkan.so.1')
  const create = vulkan.func('int vkCreateInstance(void *info, void *allocator, void *instance)')
  const list = vulkan.func('int vkEnumeratePhysicalDevices(void *instance, void *count, void *devices)')
  const describe = vulkan.func('void vkGetPhysicalDeviceProperties(void *device, void *properties)')
  const destroy = vulkan.func('void vkDestroyInstance(void *instance, void *allocator)')

  const info = Buffer.alloc(CREATE_INFO_BYTES)
  info.writeUInt32LE(STRUCTURE_TYPE_INSTANCE)
  const handle = Buffer.alloc(POINTER_BYTES)
  if (create(info, null, handle) !== 0) return []
  const instance = handle.readBigUInt64LE()
  try {
    const count = Buffer.alloc(4)
    list(instance, count, null)
    const devices = Buffer.alloc(count.readUInt32LE() * POINTER_BYTES)
    list(instance, count, devices)
    return Array.from({ length: devices.length / POINTER_BYTES }, (_, i) => {
      const properties = Buffer.alloc(PROPERTIES_BYTES)
      describe(devices.readBigUInt64LE(i * POINTER_BYTES), properties)
      const name = properties.toString('utf8', NAME_AT, properties.indexOf(0, NAME_AT))
      return { name, kind: KINDS[properties.readUInt32LE(KIND_AT)] ?? 'other' }
    })
  } finally {
    destroy(instance, null)
  }
}
