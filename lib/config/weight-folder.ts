// The folder of a model's packed weights inside the weight cache. What nobody opened for a month is removed.
//
// Invariants
//   WF1  Only folders named as this module's callers name them are removed, and none that was opened within a month.

import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createWeightStore, type WeightStore } from '../compute/weight-store.js'
import { WEIGHT_FORMATS } from '../model/weight-formats.js'
import type { ServiceDeps } from './service.js'

/** Opens the folder, or none; what goes wrong with files is told to the log. */
export function openWeightFolder({ system, logger }: ServiceDeps, folder: string | undefined): WeightStore {
  const warn = (reason: string): void => logger.warn({}, reason)
  if (folder !== undefined) forgetUnused(folder, system.clock.now(), warn)
  return createWeightStore(folder, warn)
}

const UNUSED_MS = 30 * 24 * 3600 * 1000
const NAME = new RegExp(`^[0-9a-f]{16}(-[0-9a-f]{16})?-(${WEIGHT_FORMATS.join('|')})$`)

/** Marks the folder as used now, and removes its neighbours of a month ago. */
export function forgetUnused(folder: string, nowMs: number, warn: (reason: string) => void): void {
  const cache = dirname(folder)
  try {
    if (existsSync(folder)) utimesSync(folder, nowMs / 1000, nowMs / 1000)
    const others = existsSync(cache) ? readdirSync(cache).filter((name) => name !== basename(folder)) : []
    for (const path of others.filter((name) => NAME.test(name)).map((name) => join(cache, name)))
      if (statSync(path).mtimeMs < nowMs - UNUSED_MS) rmSync(path, { recursive: true, force: true })
  } catch (error) {
    warn(`${cache}: unused weights are not removed: ${String(error)}`) // another process may be removing them
  }
}
