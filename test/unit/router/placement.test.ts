import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  emptyPlan,
  holdersOf,
  place,
  roomOf,
  type PlaceableWorker,
  type Placement,
  type Plan,
} from '../../../services/router/placement.js'
import { createReplicaOrder } from '../../../services/router/replica-order.js'

const countsOf = (placement: Placement, workers: readonly PlaceableWorker[]): number[] =>
  workers.map(({ id }) => placement.filter((holders) => holders.includes(id)).length)

/** Shards that a worker holds and did not hold. */
const movesBetween = (before: Placement, after: Placement): number =>
  after.reduce((sum, holders, shard) => sum + holders.filter((id) => !before[shard]?.includes(id)).length, 0)

const numSharing = ({ main }: Plan, workers: readonly PlaceableWorker[]): number => {
  const nodeOf = new Map(workers.map(({ id, node }) => [id, node ?? ` ${id}`]))
  return main.reduce((sum, holders) => sum + holders.length - new Set(holders.map((id) => nodeOf.get(id))).size, 0)
}

const named = (...ids: readonly string[]): PlaceableWorker[] => ids.map((id) => ({ id }))
const onNodes = fc
  .array(fc.constantFrom('x', 'y', 'z', undefined), { minLength: 1, maxLength: 9 })
  .map((nodes) => nodes.map((node, i): PlaceableWorker => ({ id: `w${i}`, node })))
const shape = fc.record({
  numShards: fc.integer({ min: 1, max: 8 }),
  replicas: fc.integer({ min: 1, max: 3 }),
})

describe('place', () => {
  const history = fc.array(fc.subarray(['w0', 'w1', 'w2', 'w3', 'w4'], { minLength: 1 }), {
    minLength: 1,
    maxLength: 6,
  })

  it('keeps P1, P2 and P6 through any history of workers', () => {
    fc.assert(
      fc.property(history, shape, (views, { numShards, replicas }) => {
        let current = emptyPlan(numShards)
        for (const view of views) {
          const workers = named(...view)
          current = place({ current, workers, numShards, replicas })
          for (const holders of current.main) {
            assert.equal(new Set(holders).size, Math.min(replicas, workers.length))
            assert.equal(holders.length, new Set(holders).size)
          }
          const counts = countsOf(current.main, workers)
          assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join())
          assert.deepEqual(place({ current, workers, numShards, replicas }), current)
        }
      }),
    )
  })

  it('nobody gets more than it has room for, and no shard lacks a holder while there is room (P1, P7)', () => {
    const rooms = fc.array(fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }), {
      minLength: 1,
      maxLength: 6,
    })
    fc.assert(
      fc.property(fc.array(rooms, { minLength: 1, maxLength: 4 }), shape, (views, { numShards, replicas }) => {
        let current = emptyPlan(numShards)
        for (const view of views) {
          const workers = view.map((most, i): PlaceableWorker => ({ id: `w${i}`, most }))
          current = place({ current, workers, numShards, replicas })
          const counts = countsOf(current.main, workers)
          const roomIn = ({ most = numShards }: PlaceableWorker): number => Math.min(most, numShards)
          const places = workers.reduce((sum, worker) => sum + roomIn(worker), 0)
          const held = current.main.filter((holders) => holders.length > 0).length
          assert.equal(held, Math.min(numShards, places))
          const open = counts.filter((count, i) => count < roomIn(workers[i] ?? { id: '' }))
          assert.ok(
            open.every((count) => Math.max(...counts) - count <= 1),
            counts.join(),
          )
          assert.ok(workers.every((worker, i) => (counts[i] ?? 0) <= roomIn(worker)))
          assert.deepEqual(place({ current, workers, numShards, replicas }), current)
        }
      }),
      // who had room held the shard that lacked a holder, until another one moved there
      { examples: [[[[undefined, undefined], [1, 5, 1, 1, undefined], [undefined]], { numShards: 6, replicas: 2 }]] },
    )
  })

  it('the order in which workers are known says nothing', () => {
    fc.assert(
      fc.property(onNodes, shape, fc.array(fc.nat(), { minLength: 9 }), (workers, { numShards, replicas }, keys) => {
        const current = place({ current: emptyPlan(numShards), workers: workers.slice(1), numShards, replicas })
        const shuffled = workers
          .map((worker, i) => ({ worker, key: keys[i] ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ worker }) => worker)
        assert.deepEqual(
          place({ current, workers: shuffled, numShards, replicas }),
          place({ current, workers, numShards, replicas }),
        )
      }),
    )
  })

  it('a worker that joins takes its share and nothing else moves; what a lost one held moves alone (P3)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), shape, (size, { numShards, replicas }) => {
        const all = named(...Array.from({ length: size + 1 }, (_, i) => `w${i}`))
        const few = all.slice(0, size)
        const before = place({ current: emptyPlan(numShards), workers: few, numShards, replicas })
        const joined = place({ current: before, workers: all, numShards, replicas })
        const share = Math.ceil((numShards * Math.min(replicas, all.length)) / all.length)
        assert.ok(movesBetween(before.main, joined.main) <= share)
        const left = place({ current: joined, workers: few, numShards, replicas })
        const held = countsOf(joined.main, all.slice(size))[0] ?? 0
        assert.ok(
          movesBetween(joined.main, left.main) <= held + (replicas > 1 ? 1 : 0),
          'one more where a copy is there',
        )
      }),
    )
  })

  it('replicas are on different nodes wherever even counts leave a way (P4), through any history', () => {
    fc.assert(
      fc.property(fc.array(onNodes, { minLength: 1, maxLength: 4 }), shape, (views, { numShards, replicas }) => {
        let current = emptyPlan(numShards)
        for (const workers of views) {
          current = place({ current, workers, numShards, replicas })
          const counts = countsOf(current.main, workers)
          assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join())
          assert.equal(numSharing(current, workers), leastSharing(workers, numShards, replicas))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('further holders stay while there is room, take over first, and are no burden to the main ones (P5)', () => {
    const workers = named('a', 'b', 'c', 'd')
    const numShards = 8
    const { main } = place({ current: emptyPlan(numShards), workers, numShards, replicas: 1 })
    const [first = ''] = main[0] ?? []
    const spare = workers.map(({ id }) => id).find((id) => id !== first) ?? ''
    const extra = main.map((_, shard) => (shard === 0 ? [spare] : []))
    const kept = place({ current: { main, extra }, workers, numShards, replicas: 1 })
    assert.deepEqual(kept, { main, extra })
    assert.deepEqual(holdersOf(kept)[0], [first, spare])
    const without = workers.filter(({ id }) => id !== first)
    const taken = place({ current: kept, workers: without, numShards, replicas: 1 })
    assert.deepEqual(taken.main[0], [spare])
    const full = main.map((holders) => workers.flatMap(({ id }) => (holders.includes(id) ? [] : [id])))
    const cut = place({ current: { main, extra: full }, workers, numShards, replicas: 1 })
    const counts = countsOf(holdersOf(cut), workers)
    assert.ok(Math.max(...counts) <= roomOf(cut, workers.length))
  })
})

/** Of all ways to share shards out evenly, by trying which workers have one more: a node with more than there are shards shares. */
function leastSharing(workers: readonly PlaceableWorker[], numShards: number, replicas: number): number {
  const total = numShards * Math.min(replicas, workers.length)
  const least = Math.floor(total / workers.length)
  const nodes = new Map<string, number>()
  for (const { id, node = ` ${id}` } of workers) nodes.set(node, (nodes.get(node) ?? 0) + 1)
  let left = total - least * workers.length // of those with one more
  let over = 0
  for (const size of nodes.values()) {
    over += Math.max(0, size * least - numShards)
    left -= Math.min(size, Math.max(0, numShards - size * least))
  }
  return over + Math.max(0, left)
}

describe('the order of replicas', () => {
  const all = { isLive: () => true }
  const firsts = (ordered: readonly (readonly string[])[]): (string | undefined)[] => ordered.map(([first]) => first)

  it('spreads a step over replicas, live ones first, slow ones after them', () => {
    const table = Array.from({ length: 4 }, () => ['a', 'b'])
    assert.deepEqual(firsts(createReplicaOrder().order(table, all)), ['a', 'b', 'a', 'b'])
    const isLive = (worker: string): boolean => worker === 'b'
    assert.deepEqual(firsts(createReplicaOrder().order(table, { isLive })), ['b', 'b', 'b', 'b'])
    const isSlow = (worker: string): boolean => worker === 'a'
    assert.deepEqual(firsts(createReplicaOrder().order(table, { ...all, isSlow })), ['b', 'b', 'b', 'b'])
  })

  it('weighs by load: what is heavy goes to one, the rest to the other', () => {
    const table = Array.from({ length: 4 }, () => ['a', 'b'])
    assert.deepEqual(firsts(createReplicaOrder().order(table, all, [1, 1, 6, 1])), ['b', 'b', 'a', 'b'])
  })

  it('holders of what outweighs all others take turns', () => {
    const replicas = createReplicaOrder()
    const table = [['a', 'b', 'c'], ['c'], ['b']]
    const steps = Array.from({ length: 6 }, () => replicas.order(table, all, [9, 1, 1])[0]?.[0])
    assert.deepEqual([...new Set(steps)].sort(), ['a', 'b', 'c'])
    for (let i = 1; i < steps.length; i++) assert.notEqual(steps[i], steps[i - 1])
  })
})
