// Decides which expert workers hold which shard. Pure: equal plans and equal workers give the equal next plan, whatever
// came in which order, so routers that agree on a plan agree on what becomes of it.
//
// Invariants
//   P1  Every shard has min(replicas, workers) different workers, its main holders; fewer where workers lack room, and at
//       last none for the last shards.
//   P2  Counts of main holders differ by at most one between workers that have room for more.
//   P3  As few shards move as that allows: what is held stays where it is unless a worker holds too many. Where there is
//       a choice, rendezvous hashing makes it.
//   P4  Main holders of a shard are on different nodes wherever P2 leaves a way; a worker that names no node is its own.
//   P5  A worker holds no more than its even share and one more: what is held beside the main holders (of hot shards,
//       `rebalance.ts`) goes when there is no room.
//   P6  Placing a plan again for the same workers changes nothing.
//   P7  No worker holds more than it has room for.

import { createHash } from 'node:crypto'

/** shard → workers that hold it. */
export type Placement = readonly (readonly string[])[]

export interface Plan {
  readonly main: Placement
  readonly extra: Placement // further holders of shards that have much to do
}

export interface PlaceableWorker {
  readonly id: string
  readonly node?: string | undefined // the machine that it runs on
  readonly most?: number | undefined // shards that it has room for; any number, unless given
}

export interface PlacementInput {
  readonly current: Plan
  readonly workers: readonly PlaceableWorker[]
  readonly numShards: number
  readonly replicas: number
}

export const emptyPlan = (numShards: number): Plan => ({ main: nobody(numShards), extra: nobody(numShards) })

/** Everyone that a plan gives a shard to. */
export const holdersOf = ({ main, extra }: Plan): Placement =>
  main.map((holders, shard) => [...new Set([...holders, ...(extra[shard] ?? [])])])

/** How many shards a worker may be given (P5). */
export const roomOf = ({ main }: Plan, numWorkers: number): number =>
  numWorkers === 0 ? 0 : Math.ceil(main.flat().length / numWorkers) + 1

export function place({ current, workers, numShards, replicas }: PlacementInput): Plan {
  const nodes = new Map(workers.map(({ id, node }) => [id, node ?? ` ${id}`]))
  const room = new Map(workers.map(({ id, most = numShards }) => [id, Math.min(most, numShards)]))
  const places = [...room.values()].reduce((sum, most) => sum + most, 0)
  const copies = Math.min(replicas, nodes.size, Math.max(1, Math.floor(places / numShards)))
  const board: Board = { ids: [...nodes.keys()].sort(), nodes, room, numShards, copies }
  const main = settle(board, current)
  const dealt = numShared(board, main) > 0 && canDeal(board) ? deal(board) : main
  const best = numShared(board, dealt) < numShared(board, main) ? dealt : main
  return { main: best, extra: keepExtra(board, best, current) }
}

interface Board {
  readonly ids: readonly string[] // of live workers, ascending
  readonly nodes: ReadonlyMap<string, string> // worker → node
  readonly room: ReadonlyMap<string, number> // worker → shards that it can hold
  readonly numShards: number
  readonly copies: number
}

const hasRoom = ({ room }: Board, main: Placement, worker: string): boolean =>
  countOf(main, worker) < (room.get(worker) ?? 0)

const nobody = (numShards: number): string[][] => Array.from({ length: numShards }, () => [])

/** Keeps what can stay, fills what is missing, evens counts out, then parts holders that share a node. */
function settle(board: Board, current: Plan): string[][] {
  const main = nobody(board.numShards)
  for (const [shard, holders] of main.entries()) {
    for (const worker of current.main[shard] ?? [])
      if (holders.length < board.copies && hasRoom(board, main, worker)) holders.push(worker)
  }
  fill(board, main, current.extra)
  do {
    while (moveOne(board, main));
    while (partOne(board, main));
  } while (fill(board, main, current.extra)) // who had room held all that was missing, and has moved on (P6)
  return main
}

/** Gives shards the holders that they lack, where somebody has room; whether there was one. */
function fill(board: Board, main: string[][], extra: Placement): boolean {
  let isFilled = false
  for (const [shard, holders] of main.entries()) {
    const spare = new Set(extra[shard])
    while (holders.length < board.copies) {
      const holder = bestHolder(board, main, { shard, spare })
      if (holder === undefined) break
      holders.push(holder)
      isFilled = true
    }
  }
  return isFilled
}

const countOf = (placement: Placement, worker: string): number =>
  placement.reduce((sum, holders) => sum + (holders.includes(worker) ? 1 : 0), 0)

/**
 * Of the workers that have not reached their share: one on another node, that has the shard already, has least, ranks
 * first. Nobody where none has room.
 */
function bestHolder(
  board: Board,
  main: readonly string[][],
  { shard, spare }: { readonly shard: number; readonly spare: ReadonlySet<string> },
): string | undefined {
  const holders = main[shard] ?? []
  const share = Math.ceil((board.numShards * board.copies) / board.ids.length)
  const candidates = board.ids.filter((worker) => !holders.includes(worker) && hasRoom(board, main, worker))
  const merits = (worker: string): number[] => {
    const count = countOf(main, worker)
    const isApart = holders.every((holder) => board.nodes.get(holder) !== board.nodes.get(worker))
    return [Math.min(0, share - 1 - count), Number(isApart), Number(spare.has(worker)), -count, rank(shard, worker)]
  }
  const [first] = candidates.map((worker) => ({ worker, merits: merits(worker) })).sort(byMerits)
  return first?.worker
}

interface Judged {
  readonly merits: readonly number[] // the first that differs decides
}

const byMerits = (a: Judged, b: Judged): number =>
  a.merits.reduce((order, merit, i) => order || (b.merits[i] ?? 0) - merit, 0)

/** Moves one shard from a worker that has most to one that has least, where they differ by more than one. */
function moveOne(board: Board, main: string[][]): boolean {
  const counts = board.ids.map((worker) => countOf(main, worker))
  const open = board.ids.filter((worker) => hasRoom(board, main, worker))
  const least = Math.min(...open.map((worker) => countOf(main, worker)))
  const most = Math.max(...counts)
  if (open.length === 0 || most - least <= 1) return false
  const fullest = board.ids.filter((_, i) => counts[i] === most)
  const emptiest = open.filter((worker) => countOf(main, worker) === least)
  const [move] = fullest.flatMap((from) => emptiest.flatMap((to) => moves(board, main, { from, to }))).sort(byMerits)
  if (move === undefined) return false // cannot be: who has two more has one that the other lacks
  swap(main, move.shard, move.from, move.to)
  return true
}

function moves(board: Board, main: readonly string[][], { from, to }: { readonly from: string; readonly to: string }) {
  return main.flatMap((holders, shard) => {
    if (!holders.includes(from) || holders.includes(to)) return []
    const after = holders.map((holder) => (holder === from ? to : holder))
    const merits = [sharedBy(board, holders) - sharedBy(board, after), rank(shard, to)]
    return [{ shard, from, to, merits }]
  })
}

function swap(main: string[][], shard: number, from: string, to: string): void {
  main[shard] = (main[shard] ?? []).map((holder) => (holder === from ? to : holder))
}

/** Holders beyond the first of each node. */
const sharedBy = ({ nodes }: Board, holders: readonly string[]): number =>
  holders.length - new Set(holders.map((holder) => nodes.get(holder))).size

const numShared = (board: Board, main: Placement): number =>
  main.reduce((sum, holders) => sum + sharedBy(board, holders), 0)

/** One exchange of two holders, or one move to a worker with one less, after which fewer share a node. */
function partOne(board: Board, main: string[][]): boolean {
  const before = numShared(board, main)
  if (before === 0) return false
  const tries = (change: (draft: string[][]) => void): boolean => {
    const draft = main.map((holders) => [...holders])
    change(draft)
    if (numShared(board, draft) >= before) return false
    main.splice(0, main.length, ...draft)
    return true
  }
  for (const [shard, holders] of main.entries()) {
    if (sharedBy(board, holders) === 0) continue
    for (const from of holders) {
      for (const to of board.ids) {
        if (holders.includes(to)) continue
        const takes = countOf(main, to) < countOf(main, from) && hasRoom(board, main, to)
        if (takes && tries((draft) => swap(draft, shard, from, to))) return true
        for (const [other, others] of main.entries()) {
          if (!others.includes(to) || others.includes(from)) continue
          const exchange = (draft: string[][]): void => {
            swap(draft, shard, from, to)
            swap(draft, other, to, from)
          }
          if (tries(exchange)) return true
        }
      }
    }
  }
  return false
}

/** Whether all have room for an equal share. */
const canDeal = ({ room, numShards, copies, ids }: Board): boolean =>
  [...room.values()].every((most) => most >= Math.ceil((numShards * copies) / ids.length))

/**
 * From nothing: workers in the order of their nodes, each as often as its share, dealt out over the shards in turn. So
 * those of a node fall on different shards as long as they have no more than there are shards.
 */
function deal(board: Board): string[][] {
  const { ids, nodes, numShards, copies } = board
  const total = numShards * copies
  const least = Math.floor(total / ids.length)
  const byNode = [...new Set([...nodes.values()].sort())].map((node) => ids.filter((id) => nodes.get(id) === node))
  const shares = new Map(ids.map((id) => [id, least]))
  const sumOf = (workers: readonly string[]): number => workers.reduce((sum, id) => sum + (shares.get(id) ?? 0), 0)
  for (let left = total - least * ids.length; left > 0; left--) {
    const open = byNode.flatMap((workers) => {
      const next = workers.find((id) => shares.get(id) === least)
      return next === undefined ? [] : [{ next, merits: [-sumOf(workers)] }]
    })
    const [first] = open.sort(byMerits)
    if (first !== undefined) shares.set(first.next, least + 1)
  }
  const slots = byNode.flat().flatMap((id) => Array.from({ length: shares.get(id) ?? 0 }, () => id))
  return nobody(numShards).map((_, shard) => slots.filter((_id, slot) => slot % numShards === shard))
}

function keepExtra(board: Board, main: Placement, current: Plan): string[][] {
  const room = roomOf({ main, extra: [] }, board.ids.length)
  const counts = new Map(board.ids.map((worker) => [worker, countOf(main, worker)]))
  return main.map((holders, shard) =>
    (current.extra[shard] ?? []).filter((worker) => {
      const count = counts.get(worker)
      const most = Math.min(room, board.room.get(worker) ?? 0)
      if (count === undefined || count >= most || holders.includes(worker)) return false
      counts.set(worker, count + 1)
      return true
    }),
  )
}

/** Rendezvous hashing: who ranks highest for a shard, of whatever workers there are. */
function rank(shard: number, worker: string): number {
  return createHash('sha256').update(`${shard} ${worker}`).digest().readUIntBE(0, 6)
}
