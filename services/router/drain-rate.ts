// How fast the waiting queue empties, measured while there is one: the mean time between admissions with somebody left
// behind. A quiet router says nothing about how fast a busy one would be.

const WINDOW = 64 // admissions
const LEAST = 16

export interface DrainRate {
  /** A sequence was admitted, and so many still wait. */
  admitted(numWaiting: number, nowMs: number): void
  /** Time until so many more are admitted; undefined: not known. */
  msFor(count: number, nowMs: number): number | undefined
}

export function createDrainRate(): DrainRate {
  const gaps: number[] = []
  let lastMs: number | undefined // of the last admission that left somebody behind

  return {
    admitted: (numWaiting, nowMs) => {
      if (lastMs !== undefined) gaps.push(Math.max(0, nowMs - lastMs))
      if (gaps.length > WINDOW) gaps.shift()
      lastMs = numWaiting > 0 ? nowMs : undefined
    },
    msFor: (count, nowMs) => {
      if (gaps.length < LEAST) return undefined
      const sinceLastMs = lastMs === undefined ? 0 : nowMs - lastMs // where nobody has been admitted for long, it counts
      const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
      return count * Math.max(mean, sinceLastMs / gaps.length)
    },
  }
}
