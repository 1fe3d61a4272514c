import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import { createExpertLoad, imbalanceOf } from '../../../services/router/expert-load.js'
import { emptyPlan, place, roomOf, type Plan } from '../../../services/router/placement.js'
import { createRebalancer } from '../../../services/router/rebalancer.js'
import { loadsOf, nextChange } from '../../../services/router/rebalance.js'

const NUM_SHARDS = 8
const workersOf = (count: number) => Array.from({ length: count }, (_, i) => ({ id: `w${i}` }))
const planFor = (numWorkers: number, replicas = 1): Plan =>
  place({ current: emptyPlan(NUM_SHARDS), workers: workersOf(numWorkers), numShards: NUM_SHARDS, replicas })

/** All changes until none pays. */
function rebalanced(plan: Plan, numWorkers: number, windows: readonly (readonly number[])[]): Plan[] {
  const plans = [plan]
  for (let i = 0; i < 50; i++) {
    const change = nextChange({ plan: plans.at(-1) ?? plan, workers: workersOf(numWorkers), windows })
    if (change === undefined) return plans
    plans.push(change.plan)
  }
  return assert.fail('it changes for ever')
}

const imbalance = (plan: Plan, numWorkers: number, loads: readonly number[]): number =>
  imbalanceOf(
    loadsOf(
      plan,
      workersOf(numWorkers).map(({ id }) => id),
      loads,
    ),
  ) ?? assert.fail('no load')

const loads = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: NUM_SHARDS, maxLength: NUM_SHARDS })

describe('nextChange', () => {
  it('ends, makes nothing worse and keeps counts and rooms (B1), whatever the loads', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 3 }), loads, (size, replicas, window) => {
        const before = planFor(size, replicas)
        const after = rebalanced(before, size, [window, window]).at(-1) ?? before
        assert.ok(imbalance(after, size, window) <= imbalance(before, size, window) * 1.02)
        const again = place({ current: after, workers: workersOf(size), numShards: NUM_SHARDS, replicas })
        assert.deepEqual(again, after, 'placing it anew changes nothing')
        for (const { id } of workersOf(size)) {
          const held = [...after.main, ...after.extra].filter((holders) => holders.includes(id)).length
          assert.ok(held <= roomOf(after, size))
        }
      }),
      { numRuns: 20 },
    )
  })

  it('parts two busy shards of one worker by an exchange first: no memory is spent', () => {
    const plan = planFor(4)
    const [busy = ''] = plan.main[0] ?? []
    const window = plan.main.map(([holder]) => (holder === busy ? 40 : 10))
    const change = nextChange({ plan, workers: workersOf(4), windows: [window, window] })
    assert.equal(change?.what, 'exchange')
    assert.ok(imbalance(plan, 4, window) > 2 && imbalance(change.plan, 4, window) < 1.5)
  })

  it('a shard that outweighs all others is held more than once, and its holders take turns', () => {
    const plan = planFor(4)
    const window = [90, 10, 10, 10, 10, 10, 10, 10]
    const after = rebalanced(plan, 4, [window, window]).at(-1) ?? plan
    assert.ok((after.extra[0]?.length ?? 0) > 0)
    assert.ok(imbalance(after, 4, window) < imbalance(plan, 4, window) * 0.75)
  })

  it('what paid in one window alone is not done (B2)', () => {
    const plan = planFor(4)
    const window = [90, 10, 10, 10, 10, 10, 10, 10]
    const even = window.map(() => 10)
    assert.notEqual(nextChange({ plan, workers: workersOf(4), windows: [window, window] }), undefined)
    assert.equal(nextChange({ plan, workers: workersOf(4), windows: [window, even] }), undefined)
    assert.equal(nextChange({ plan, workers: workersOf(4), windows: [] }), undefined)
  })

  it('a further holder goes when its shard is busy no more (B3)', () => {
    const plan = planFor(4)
    const window = [90, 10, 10, 10, 10, 10, 10, 10]
    const after = rebalanced(plan, 4, [window, window]).at(-1) ?? plan
    const even = window.map(() => 10)
    const later = rebalanced(after, 4, [even, even]).at(-1) ?? after
    assert.deepEqual(later.extra.flat(), [])
  })

  it('does not waver with noise of a few per cent', () => {
    const numWorkers = 4
    const noisy = fc.array(fc.double({ min: 0.98, max: 1.02, noNaN: true }), { minLength: 8, maxLength: 8 })
    const base = [60, 10, 25, 10, 40, 10, 5, 20]
    const windowOf = (noise: readonly number[]): number[] => base.map((load, i) => load * (noise[i] ?? 1))
    const settled = rebalanced(planFor(numWorkers), numWorkers, [base, base]).at(-1) ?? assert.fail('no plan')
    fc.assert(
      fc.property(noisy, noisy, (a, b) => {
        const windows = [windowOf(a), windowOf(b)]
        const further = rebalanced(settled, numWorkers, windows).length - 1
        assert.ok(further <= 1, `${further} changes for noise`)
      }),
      { numRuns: 30 },
    )
  })
})

const beat = (id: string, incarnation: string, work: number[]): Heartbeat => ({
  kind: 'worker.heartbeat',
  role: 'expert-worker',
  id,
  incarnation,
  pid: 1,
  state: 'ready',
  deviceClass: 'c',
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 0, maxRows: 0 },
  load: {},
  work,
})

describe('expert load', () => {
  it('closes windows by work done, whatever time it took, and counts what happened since it looks', () => {
    const load = createExpertLoad(2)
    load.observe(beat('a', '1', [5_000, 5_000]), 0) // before it looked
    load.observe(beat('a', '1', [5_100, 5_000]), 100_000)
    assert.deepEqual(load.windows, [])
    load.observe(beat('b', '1', [0, 0]), 100_000)
    load.observe(beat('b', '1', [0, 900]), 100_250)
    assert.deepEqual(load.windows, [[100, 900]])
    assert.deepEqual(
      [...load.byWorker],
      [
        ['a', 100],
        ['b', 900],
      ],
    )
  })

  it('a worker that began anew is not counted backwards', () => {
    const load = createExpertLoad(1)
    load.observe(beat('a', '1', [300]), 0)
    load.observe(beat('a', '2', [10]), 5_000)
    load.observe(beat('a', '2', [450]), 10_000)
    assert.deepEqual(load.windows, [[440]])
  })
})

describe('rebalancer', () => {
  const window = [90, 10, 10, 10, 10, 10, 10, 10]
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

  it('changes one thing at a time, only while it leads and every worker holds what it should (B4)', () => {
    let isLead = false
    const placement = {
      plan: planFor(4),
      workers: workersOf(4),
      isSettled: true,
      adopt: (next: Plan) => {
        placement.plan = next
        placement.isSettled = false
      },
    }
    const windows = [[...window], [...window]]
    const rebalancer = createRebalancer({ placement, load: { windows }, isLead: () => isLead, logger: quiet })
    rebalancer.tick()
    assert.equal(rebalancer.figures.moves, 0)
    isLead = true
    rebalancer.tick()
    rebalancer.tick()
    assert.equal(rebalancer.figures.moves, 1)
    for (let i = 0; i < 20; i++) {
      placement.isSettled = true
      rebalancer.tick()
    }
    const { moves, last } = rebalancer.figures
    assert.ok(moves > 1 && moves < 20)
    assert.ok(last !== undefined && last.after < last.before)
  })
})
