// Which one change of a plan lets the busiest expert worker have less to do. Pure: equal plans and loads, equal change.
//
// Invariants
//   B1  Main holders stay as even in number as they are, and nobody gets more than its room (P2, P5).
//   B2  A change must pay in every window that is given: what paid once by chance is not done.
//   B3  Memory is spent last: a further holder only where no move or exchange pays; one that gives nothing any more goes.

import { imbalanceOf } from './expert-load.js'
import { holdersOf, roomOf, type PlaceableWorker, type Placement, type Plan } from './placement.js'
import { createReplicaOrder } from './replica-order.js'

const LEAST_GAIN = 0.03 // of the pressure, below: what less may be chance
const MOST_LOSS = 0.005 // when a further holder goes
const ROUNDS = 6 // steps that are tried: holders of a heavy shard take turns
const MOST_BUSY = 2 // workers that are relieved: the others do not make the maximum
const MOST_IDLE = 8 // workers that take something over
const NORM = 8 // near the maximum, and still better when one of two that are busiest is relieved

export interface Change {
  readonly plan: Plan
  readonly what: 'move' | 'exchange' | 'add' | 'drop'
  readonly shards: readonly number[]
  readonly from: string | undefined
  readonly to: string | undefined
}

export interface RebalanceInput {
  readonly plan: Plan
  readonly workers: readonly PlaceableWorker[]
  readonly windows: readonly (readonly number[])[] // loads by shard
}

/** The change that pays most in the window in which it pays least; undefined where none pays enough. */
export function nextChange({ plan, workers, windows }: RebalanceInput): Change | undefined {
  const ids = workers.map(({ id }) => id)
  const nodes = new Map(workers.map(({ id, node }) => [id, node ?? ` ${id}`]))
  if (windows.length === 0 || ids.length < 2 || windows.some((loads) => imbalanceOf(loads) === undefined)) return
  const now = windows.map((loads) => pressure(plan, ids, loads))
  const gainOf = ({ plan: next }: Change): number =>
    Math.min(...windows.map((loads, i) => 1 - pressure(next, ids, loads) / (now[i] ?? 1)))
  const best = (changes: readonly Change[], least: number): Change | undefined => {
    const judged = changes.map((change) => ({ change, gain: gainOf(change) }))
    const [first] = judged.filter(({ gain }) => gain >= least).sort((a, b) => b.gain - a.gain)
    return first?.change
  }
  const [loads = []] = windows
  const done = loadsOf(plan, ids, loads)
  const byLoad = [...ids.keys()].sort((a, b) => (done[b] ?? 0) - (done[a] ?? 0)).map((i) => ids[i] ?? '')
  const board = {
    plan,
    ids,
    nodes,
    room: roomsOf(plan, workers),
    busy: byLoad.slice(0, MOST_BUSY),
    idle: byLoad.slice(-MOST_IDLE),
  }
  return (
    best([...moves(board), ...exchanges(board)], LEAST_GAIN) ??
    best(drops(board), -MOST_LOSS) ??
    best(additions(board), LEAST_GAIN)
  )
}

/** What every worker has to do by a plan, as steps would ask them. */
export function loadsOf(plan: Plan, ids: readonly string[], loads: readonly number[]): number[] {
  const table = holdersOf(plan)
  const replicas = createReplicaOrder()
  const done = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++) {
    for (const [shard, [first]] of replicas.order(table, { isLive: () => true }, loads).entries()) {
      if (first !== undefined) done.set(first, (done.get(first) ?? 0) + (loads[shard] ?? 0) / ROUNDS)
    }
  }
  return ids.map((id) => done.get(id) ?? 0)
}

/** A mean that the busiest workers dominate. */
function pressure(plan: Plan, ids: readonly string[], loads: readonly number[]): number {
  const values = loadsOf(plan, ids, loads)
  const most = Math.max(...values)
  return most * (values.reduce((sum, value) => sum + (value / most) ** NORM, 0) / values.length) ** (1 / NORM)
}

/** Shards that each worker may be given (P5, P7). */
function roomsOf(plan: Plan, workers: readonly PlaceableWorker[]): ReadonlyMap<string, number> {
  const share = roomOf(plan, workers.length)
  return new Map(workers.map(({ id, most = share }) => [id, Math.min(most, share)]))
}

interface Board {
  readonly plan: Plan
  readonly ids: readonly string[]
  readonly nodes: ReadonlyMap<string, string>
  readonly room: ReadonlyMap<string, number>
  readonly busy: readonly string[]
  readonly idle: readonly string[]
}

const countOf = (placement: Placement, worker: string): number =>
  placement.filter((holders) => holders.includes(worker)).length

const countAll = ({ plan }: Board, worker: string): number => countOf(plan.main, worker) + countOf(plan.extra, worker)

const hasRoom = (board: Board, worker: string): boolean => countAll(board, worker) < (board.room.get(worker) ?? 0)

/** A main holder gives its shard to a worker that has one less. */
function moves(board: Board): Change[] {
  const { plan, busy, idle } = board
  return eachHolder(plan.main, (shard, from) =>
    idle.flatMap((to): Change[] => {
      if (!busy.includes(from) || holds(board, shard, to) || !hasRoom(board, to)) return []
      if (countOf(plan.main, to) !== countOf(plan.main, from) - 1) return []
      const main = given(plan.main, shard, from, to)
      return isAsApart(board, main) ? [{ plan: { ...plan, main }, what: 'move', shards: [shard], from, to }] : []
    }),
  )
}

function exchanges(board: Board): Change[] {
  const { plan, busy, idle } = board
  return eachHolder(plan.main, (shard, from) =>
    eachHolder(plan.main, (other, to): Change[] => {
      if (!busy.includes(from) || !idle.includes(to) || holds(board, shard, to) || holds(board, other, from)) return []
      const main = given(given(plan.main, shard, from, to), other, to, from)
      const shards = [shard, other]
      return isAsApart(board, main) ? [{ plan: { ...plan, main }, what: 'exchange', shards, from, to }] : []
    }),
  )
}

function drops({ plan }: Board): Change[] {
  return eachHolder(plan.extra, (shard, from): Change[] => {
    const extra = plan.extra.map((holders, i) => (i === shard ? holders.filter((id) => id !== from) : holders))
    return [{ plan: { ...plan, extra }, what: 'drop', shards: [shard], from, to: undefined }]
  })
}

function additions(board: Board): Change[] {
  const { plan, busy, idle } = board
  return idle
    .filter((to) => hasRoom(board, to))
    .flatMap((to) =>
      plan.main.flatMap((_, shard): Change[] => {
        if (holds(board, shard, to) || !busy.some((from) => holds(board, shard, from))) return []
        const extra = plan.extra.map((holders, i) => (i === shard ? [...holders, to] : holders))
        return [{ plan: { ...plan, extra }, what: 'add', shards: [shard], from: undefined, to }]
      }),
    )
}

const eachHolder = (placement: Placement, changes: (shard: number, holder: string) => Change[]): Change[] =>
  placement.flatMap((holders, shard) => holders.flatMap((holder) => changes(shard, holder)))

const holds = ({ plan: { main, extra } }: Board, shard: number, worker: string): boolean =>
  main[shard]?.includes(worker) === true || extra[shard]?.includes(worker) === true

const given = (placement: Placement, shard: number, from: string, to: string): Placement =>
  placement.map((holders, i) => (i === shard ? holders.map((holder) => (holder === from ? to : holder)) : holders))

/** No more holders of a shard share a node than before (P4). */
function isAsApart({ plan, nodes }: Board, main: Placement): boolean {
  const numShared = (placement: Placement): number =>
    placement.reduce((sum, holders) => sum + holders.length - new Set(holders.map((id) => nodes.get(id))).size, 0)
  return numShared(main) <= numShared(plan.main)
}
