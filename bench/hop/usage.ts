// Who used the cores while tokens were made.

import type { ProcessorTimes } from './processor-time.js'

/** Seconds of one core per token; those of all rows together are the wall time times the cores. */
export interface Usage {
  readonly wallPerToken: number // seconds
  readonly byRole: Readonly<Record<string, number>>
  readonly others: number // other processes, the kernel's own work, time that a hypervisor took
  readonly idle: number
}

export function usageOf(
  { byRole, idle, wall }: ProcessorTimes,
  { numTokens, cores }: { readonly numTokens: number; readonly cores: number },
): Usage {
  const known = Object.values(byRole).reduce((sum, seconds) => sum + seconds, 0)
  return {
    wallPerToken: wall / numTokens,
    byRole: Object.fromEntries(Object.entries(byRole).map(([role, seconds]) => [role, seconds / numTokens])),
    others: Math.max(0, wall * cores - idle - known) / numTokens, // below zero by the coarseness of the kernel's clocks
    idle: idle / numTokens,
  }
}
