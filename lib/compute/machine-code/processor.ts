// What vectors this machine's processor has, for code that is written here.

import { existsSync, readFileSync } from 'node:fs'
import type { VectorUnit } from './code-frame.js'

/** The processor's features by their names in Linux; none where they cannot be read. */
export function processorFeatures(): ReadonlySet<string> {
  if (!existsSync('/proc/cpuinfo')) return new Set()
  const [, flags = ''] = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? []
  return new Set(flags.trim().split(/\s+/))
}

/** All that our code can use, the fastest first; Linux on x86-64 only. */
export function vectorUnitsOf(features: ReadonlySet<string>): readonly VectorUnit[] {
  if (process.platform !== 'linux' || process.arch !== 'x64') return []
  const has = (...names: readonly string[]): boolean => names.every((name) => features.has(name))
  const hasWide = has('avx512f', 'avx512bw', 'avx512vl', 'avx512dq')
  return [
    ...(hasWide && has('avx512_vnni') ? [{ vectorBytes: 64, hasDotProduct: true } as const] : []),
    ...(hasWide ? [{ vectorBytes: 64, hasDotProduct: false } as const] : []),
    ...(has('avx2', 'f16c') ? [{ vectorBytes: 32, hasDotProduct: false } as const] : []),
  ]
}

export const vectorUnitOf = (features: ReadonlySet<string>): VectorUnit | undefined => vectorUnitsOf(features)[0]
