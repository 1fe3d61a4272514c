// Decides which expert workers hold which shard. Pure.
//
// Invariants
//   P1  Every shard has min(replicas, workers) different workers.
//   P2  Counts differ by at most one between workers.
//   P3  As few shards move as that allows: what is held stays where it is unless a worker holds too many.

/** shard → workers that hold it, the primary first. */
export type Placement = readonly (readonly string[])[]

export interface PlacementInput {
  readonly current: Placement
  readonly workers: readonly string[] // live, ascending
  readonly numShards: number
  readonly replicas: number
}

export function place({ current, workers, numShards, replicas }: PlacementInput): Placement {
  const copies = Math.min(replicas, workers.length)
  const kept = Array.from({ length: numShards }, (_, shard) =>
    (current[shard] ?? []).filter((worker) => workers.includes(worker)).slice(0, copies),
  )
  const load = new Map(workers.map((worker) => [worker, 0]))
  for (const worker of kept.flat()) load.set(worker, (load.get(worker) ?? 0) + 1)
  const count = (worker: string): number => load.get(worker) ?? 0

  for (const holders of kept) {
    while (holders.length < copies) {
      const worker = lightest(workers, count, holders)
      if (worker === undefined) break
      holders.push(worker)
      load.set(worker, count(worker) + 1)
    }
  }
  while (moveOne(kept, workers, load));
  return kept
}

function lightest(
  workers: readonly string[],
  count: (worker: string) => number,
  holders: readonly string[],
): string | undefined {
  return workers
    .filter((worker) => !holders.includes(worker))
    .reduce<string | undefined>(
      (best, worker) => (best === undefined || count(worker) < count(best) ? worker : best),
      undefined,
    )
}

/** Moves one shard from the heaviest worker to the lightest where they differ by more than one. */
function moveOne(placement: string[][], workers: readonly string[], load: Map<string, number>): boolean {
  const count = (worker: string): number => load.get(worker) ?? 0
  const sorted = [...workers].sort((a, b) => count(a) - count(b))
  for (const from of [...sorted].reverse()) {
    for (const to of sorted) {
      if (count(from) - count(to) <= 1) break
      const holders = placement.findLast((candidate) => candidate.includes(from) && !candidate.includes(to))
      if (holders === undefined) continue
      holders[holders.indexOf(from)] = to
      load.set(from, count(from) - 1)
      load.set(to, count(to) + 1)
      return true
    }
  }
  return false
}

/** The order in which a step asks the replicas of each shard: live ones first, slow ones after them, load spread evenly. */
export function chooseReplicas(
  table: Placement,
  isLive: (worker: string) => boolean,
  isSlow: (worker: string) => boolean = () => false,
): string[][] {
  const chosen = new Map<string, number>()
  const standing = (worker: string): number => (isLive(worker) ? (isSlow(worker) ? 1 : 2) : 0)
  return table.map((holders) => {
    const order = [...holders].sort((a, b) => standing(b) - standing(a) || (chosen.get(a) ?? 0) - (chosen.get(b) ?? 0))
    const first = order[0]
    if (first !== undefined) chosen.set(first, (chosen.get(first) ?? 0) + 1)
    return order
  })
}
