// What each expert shard has to do, from what expert workers say in their heartbeats (`work`): windows of work, not of
// time, so that an idle hour changes nothing. Every router hears the same, whoever's requests they were.
//
// A shard's load is the objective u = fw · touched + fc · rows of the experts that a step touches there, as measured, not
// as expected from how often each is chosen: how often rows of one step agree is in it.

import type { Heartbeat } from '../../lib/wire/messages.js'

const WINDOW_WORK = 400 // per shard, of units of an expert touched: a shard's share is then good to a few per cent
const WINDOW_MS = 2_000 // at least

export interface ExpertLoad {
  observe(heartbeat: Heartbeat, nowMs: number): void
  /** By shard, of the last whole windows, the newest first; at most two. */
  readonly windows: readonly (readonly number[])[]
  /** By worker, of the last whole window. */
  readonly byWorker: ReadonlyMap<string, number>
}

export function createExpertLoad(numShards: number): ExpertLoad {
  const said = new Map<string, { readonly incarnation: string; readonly work: readonly number[] }>() // by worker
  let byShard = zeros(numShards)
  let perWorker = new Map<string, number>()
  let windows: (readonly number[])[] = []
  let byWorker: ReadonlyMap<string, number> = new Map()
  let sinceMs: number | undefined

  const close = (nowMs: number): void => {
    windows = [byShard, ...windows].slice(0, 2)
    byWorker = perWorker
    byShard = zeros(numShards)
    perWorker = new Map()
    sinceMs = nowMs
  }

  return {
    observe: ({ id, role, incarnation, state, work }, nowMs) => {
      if (role !== 'expert-worker') return
      if (state === 'stopped') said.delete(id)
      if (state === 'stopped' || work?.length !== numShards) return
      sinceMs ??= nowMs
      const known = said.get(id)
      said.set(id, { incarnation, work })
      if (known?.incarnation !== incarnation) return
      for (const [shard, total] of work.entries()) {
        const done = Math.max(0, total - (known.work[shard] ?? 0))
        byShard[shard]! += done
        perWorker.set(id, (perWorker.get(id) ?? 0) + done)
      }
      if (sumOf(byShard) >= WINDOW_WORK * numShards && nowMs - sinceMs >= WINDOW_MS) close(nowMs)
    },
    get windows() {
      return windows
    },
    get byWorker() {
      return byWorker
    },
  }
}

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0)

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

/** The busiest over the mean of all: 1 is even; undefined where nobody had anything to do. */
export function imbalanceOf(loads: readonly number[]): number | undefined {
  const total = sumOf(loads)
  return total === 0 ? undefined : (Math.max(...loads) * loads.length) / total
}
