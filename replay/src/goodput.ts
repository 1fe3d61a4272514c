// Which requests were good enough: those that met every goal.

import type { RequestMetrics } from './request-metrics.js'
import { mean } from './statistics.js'
import { TraceError } from './trace-error.js'

export type GoalName = 'ttft' | 'tpot' | 'itl' | 'e2e'
export type Goals = Readonly<Partial<Record<GoalName, number>>> // milliseconds at most

const NAMES: ReadonlyMap<string, GoalName> = new Map([
  ['ttft', 'ttft'],
  ['time_to_first_token', 'ttft'],
  ['tpot', 'tpot'],
  ['inter_token_latency', 'tpot'],
  ['itl', 'itl'],
  ['inter_chunk_latency', 'itl'],
  ['e2e', 'e2e'],
  ['e2el', 'e2e'],
  ['request_latency', 'e2e'],
])

/** `"ttft:500 tpot:50"`: milliseconds, apart by blanks or commas. */
export function parseGoals(text: string): Goals {
  const goals: Partial<Record<GoalName, number>> = {}
  for (const part of text.split(/[\s,]+/).filter((word) => word !== '')) {
    const [word = '', limit = ''] = part.split(':')
    const name = NAMES.get(word)
    const ms = Number(limit)
    if (name === undefined || limit === '' || !Number.isFinite(ms) || ms <= 0) {
      throw new TraceError(
        'invalid_argument',
        `goodput: want NAME:MILLISECONDS with ttft, tpot, itl or e2e, as in "ttft:500 tpot:50", found ${JSON.stringify(part)}`,
      )
    }
    goals[name] = ms
  }
  if (Object.keys(goals).length === 0)
    throw new TraceError('invalid_argument', 'goodput: want at least one goal, as in "ttft:500 tpot:50", found none')
  return goals
}

/** An answer of one token has no gaps, and meets their goals; one without a first token meets none for it. */
export function meets(goals: Goals, { ttftMs, tpotMs, itlMs, e2eMs }: RequestMetrics): boolean {
  const measured: Record<GoalName, number> = {
    ttft: ttftMs ?? Infinity,
    tpot: tpotMs ?? 0,
    itl: itlMs.length === 0 ? 0 : mean(itlMs),
    e2e: e2eMs,
  }
  return (Object.keys(measured) as GoalName[]) // the record's own keys
    .every((name) => measured[name] <= (goals[name] ?? Infinity))
}
