// How long an expert worker takes to answer, learned from its answers: a mean and a mean deviation (as TCP estimates round
// trips), one pair per class of sizes, each twice the one before.

const MEAN_GAIN = 1 / 8
const DEVIATION_GAIN = 1 / 4
const DEVIATIONS = 4 // above the mean an answer is late
const LEAST_LATE_MS = 50 // a loaded machine takes so long to give a ready process its turn
const MOST_LATE_MS = 300 // before much is known, and where answers scatter
const STRAGGLER = 2 // an answer counts as so many times the late one at most
const OVERDUE_TIMES = 4 // of what a late answer takes
const LEAST_OVERDUE_MS = 1_000
const FIRST_OVERDUE_MS = 10_000 // before anything is known: a large model's first call may take that long

export interface ReplyTimes {
  observe(rows: number, tookMs: number): void
  /** From when on an answer for so many rows is late. */
  lateMs(rows: number): number
  /** From when on it is missed, if its worker gives no other sign of life. */
  overdueMs(rows: number): number
}

interface Estimate {
  meanMs: number
  deviationMs: number
}

export function createReplyTimes(): ReplyTimes {
  const classes: (Estimate | undefined)[] = []
  const classOf = (rows: number): number => Math.floor(Math.log2(Math.max(1, rows)))

  /** Of the class, else of the next smaller one in proportion, else of the next larger one. */
  const estimate = (index: number): Estimate | undefined => {
    for (let smaller = index; smaller >= 0; smaller--) {
      const known = classes[smaller]
      const scale = 2 ** (index - smaller)
      if (known) return { meanMs: known.meanMs * scale, deviationMs: known.deviationMs * scale }
    }
    return classes.slice(index).find((known) => known !== undefined)
  }

  const lateMs = (rows: number): number => {
    const known = estimate(classOf(rows))
    if (known === undefined) return MOST_LATE_MS
    const wanted = known.meanMs + DEVIATIONS * known.deviationMs
    return Math.min(Math.max(LEAST_LATE_MS, wanted), Math.max(MOST_LATE_MS, 2 * known.meanMs))
  }

  return {
    lateMs,
    overdueMs: (rows) => {
      const isKnown = estimate(classOf(rows)) !== undefined
      return isKnown ? Math.max(LEAST_OVERDUE_MS, OVERDUE_TIMES * lateMs(rows)) : FIRST_OVERDUE_MS
    },
    observe: (rows, tookMs) => {
      const boundedMs = Math.min(tookMs, STRAGGLER * lateMs(rows))
      const known = classes[classOf(rows)]
      if (known === undefined) {
        classes[classOf(rows)] = { meanMs: boundedMs, deviationMs: boundedMs / 2 }
        return
      }
      const error = boundedMs - known.meanMs
      known.meanMs += MEAN_GAIN * error
      known.deviationMs += DEVIATION_GAIN * (Math.abs(error) - known.deviationMs)
    },
  }
}
