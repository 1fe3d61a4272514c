// How large the processor's caches are: what is measured as memory must be larger.

import { readdirSync, readFileSync } from 'node:fs'

const FOLDER = '/sys/devices/system/cpu/cpu0/cache'
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/** Bytes of the last cache of the first core, as Linux tells; 0 where it does not. */
export function largestCacheBytes(): number {
  try {
    const indices = readdirSync(FOLDER).filter((name) => name.startsWith('index'))
    return Math.max(0, ...indices.map((index) => parseCacheSize(readFileSync(`${FOLDER}/${index}/size`, 'utf8'))))
  } catch {
    return 0 // not Linux, or a container that hides it
  }
}

/** '32K', '300M' → bytes. */
export function parseCacheSize(text: string): number {
  const [, digits = '0', unit = ''] = /^(\d+)([KMG]?)$/.exec(text.trim()) ?? []
  return Number(digits) * (UNITS[unit] ?? 1)
}
