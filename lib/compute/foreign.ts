// The only module that imports the foreign function interface.

import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'

export type Foreign = typeof Koffi
export type ForeignType = Koffi.TypeObject

let loaded: Foreign | undefined | null = null

/** Absent where the package has no binary for this system. */
export const foreignInterface = (): Foreign | undefined => (loaded === null ? (loaded = load()) : loaded)

function load(): Foreign | undefined {
  try {
    return createRequire(import.meta.url)('koffi') as Foreign // its own types
  } catch {
    return undefined
  }
}
