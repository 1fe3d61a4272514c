// The routing table as workers come, freeze, drain and go: on a bus and a clock that the test moves by hand.

import assert from 'node:assert/strict'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { createManualClock, type ManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import { createMembership, type Membership } from '../../../services/router/membership.js'
import {
  createPlacementManager,
  type PlacementManager,
  type PlacementOptions,
} from '../../../services/router/placement-manager.js'

const NUM_SHARDS = 8

/** As an expert worker says it. */
const noRoom = (most: number): ClusterError =>
  new ClusterError('resource_exhausted', 'no room', {
    details: { reason: 'NO_ROOM', mostShards: `${most}`, shardBytes: '2e9', spareBytes: '5e8', because: 'a limit' },
  })

/** A worker on the scripted bus: it holds what it was last asked for, unless it is frozen or slow. */
interface Scripted {
  shards: readonly number[]
  isFrozen: boolean
  loads: (() => void)[] | undefined // a slow one: its answers wait here
  most?: number // shards that it has room for; any number, unless given
  refuses?: ClusterError | undefined // what it answers instead
  readonly asked: (readonly number[])[]
}

describe('placement manager', () => {
  let clock: ManualClock
  let membership: Membership
  let workers: Map<string, Scripted>
  let manager: PlacementManager

  const beat = (id: string, state: Heartbeat['state'] = 'ready', seen = membership): void =>
    seen.observe(
      {
        kind: 'worker.heartbeat',
        role: 'expert-worker',
        id,
        incarnation: `${id}-1`,
        pid: 1,
        state,
        deviceClass: 'c',
        fingerprint: 'f',
        shards: [],
        capacity: { kvTokens: 0, maxRows: 0 },
        load: {},
      },
      clock.now(),
    )

  const worker = (id: string): Scripted => workers.get(id) ?? assert.fail(`no worker ${id}`)

  const join = (...ids: readonly string[]): void => {
    for (const id of ids) workers.set(id, { shards: [], isFrozen: false, loads: undefined, asked: [] })
    for (const id of ids) beat(id)
  }

  /** Answers what was asked, and lets the manager take it in. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await Promise.resolve()
  }
  const advance = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100)
      await settle()
    }
  }

  const ask = (address: string, message: { readonly kind: string; readonly body: unknown }, options: AskOptions) =>
    new Promise((resolve, reject) => {
      const [id = ''] = address.split('.')
      const there = workers.get(id)
      const late = (): void => reject(new ClusterError('deadline_exceeded', 'late'))
      if (there === undefined)
        return reject(new ClusterError('unavailable', 'nobody', { details: { reason: 'NO_RESPONDERS' } }))
      clock.after(options.timeoutMs, late)
      options.signal?.addEventListener('abort', () => reject(new ClusterError('cancelled', 'given up')))
      if (there.isFrozen) return
      if (message.kind === 'worker.ping') return resolve({ kind: 'request.done', handled: true })
      const { shards } = message.body as { readonly shards: readonly number[] } // the only other message here
      there.asked.push(shards)
      if (shards.length > (there.most ?? NUM_SHARDS)) return reject(noRoom(there.most ?? 0))
      if (there.refuses !== undefined) return reject(there.refuses)
      const answer = (): void => {
        there.shards = shards
        resolve({ kind: 'expert.placed', tableEpoch: 1, shards: [...shards] })
      }
      if (there.loads === undefined) answer()
      else there.loads.push(answer)
    })
  interface AskOptions {
    readonly timeoutMs: number
    readonly signal?: AbortSignal
  }

  const managerFor = (seen: Membership, changes: Partial<PlacementOptions> = {}): PlacementManager =>
    createPlacementManager({
      system: { clock, ask } as unknown as ActorSystem, // all that the manager uses of it
      membership: seen,
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      router: 'router-0',
      fingerprint: 'f',
      numShards: NUM_SHARDS,
      replicas: 1,
      minWorkers: 2,
      accepts: () => true,
      standsBy: () => false,
      isLead: () => true,
      loads: () => undefined,
      onAgreed: () => undefined,
      ...changes,
    })

  beforeEach(() => {
    clock = createManualClock()
    membership = createMembership()
    workers = new Map()
    manager = managerFor(membership)
  })
  afterEach(() => manager.stop())

  const holdersAre = (ids: readonly string[]): void => {
    assert.deepEqual([...new Set(manager.table.flat())].sort(), ids)
    assert.ok(manager.table.every((holders) => holders.length > 0))
  }
  /** L1: whom the table names holds it. */
  const tableIsTrue = (): boolean =>
    manager.table.every((holders, shard) => holders.every((id) => worker(id).shards.includes(shard)))

  it('waits for the workers that it was told to expect, then shares out evenly', async () => {
    join('a')
    await settle()
    assert.equal(manager.epoch, 0)
    join('b')
    await settle()
    holdersAre(['a', 'b'])
    assert.ok([worker('a'), worker('b')].every(({ shards }) => shards.length === NUM_SHARDS / 2))
  })

  it('says what a worker finds wrong with the model, and asks again now and then', async () => {
    const refuses = new ClusterError('invalid_argument', 'tensor x: want finite values')
    workers.set('b', { shards: [], isFrozen: false, loads: undefined, asked: [], refuses })
    join('a')
    beat('b')
    await settle()
    assert.deepEqual(
      [manager.refusal?.code, manager.refusal?.message],
      ['invalid_argument', 'b: tensor x: want finite values'],
    )
    await advance(4_000)
    assert.equal(worker('b').asked.length, 1)
    worker('b').refuses = undefined
    await advance(2_000)
    assert.equal(manager.refusal, undefined)
    holdersAre(['a', 'b'])
  })

  it('is stuck while a shard is nowhere that its worker tried to hold in vain, however that is told', async () => {
    const refuses = new ClusterError('internal', 'the device has no memory left')
    workers.set('b', { shards: [], isFrozen: false, loads: undefined, asked: [], refuses })
    join('a')
    beat('b')
    await settle()
    assert.equal(manager.isComplete(), false)
    assert.equal(manager.isStuck, true)
    worker('b').refuses = undefined
    await advance(1_000)
    assert.deepEqual([manager.isComplete(), manager.isStuck], [true, false])
  })

  it('is not stuck while workers are awaited or load', async () => {
    join('a')
    await settle()
    assert.equal(manager.isStuck, false)
    workers.set('b', { shards: [], isFrozen: false, loads: [], asked: [] })
    beat('b')
    await advance(1_000)
    assert.deepEqual([manager.isComplete(), manager.isStuck], [false, false])
  })

  it('publishes what one worker confirmed while another still loads', async () => {
    workers.set('b', { shards: [], isFrozen: false, loads: [], asked: [] })
    join('a')
    beat('b')
    await settle()
    assert.equal(manager.table.filter((holders) => holders.includes('a')).length, NUM_SHARDS / 2)
    assert.equal(manager.isComplete(), false)
    await advance(30_000) // it answers pings: nobody gives it up
    beat('b')
    assert.equal(worker('b').asked.length, 1)
    worker('b').loads?.forEach((load) => load())
    await settle()
    assert.ok(manager.table.every((holders) => holders.length === 1))
  })

  it('a frozen worker holds up nobody: within seconds another has its shards (L3, L5)', async () => {
    workers.set('b', { shards: [], isFrozen: true, loads: undefined, asked: [] })
    join('a')
    beat('b')
    for (let i = 0; i < 30; i++) {
      beat('a')
      beat('b')
      await advance(100)
    }
    holdersAre(['a'])
    assert.ok(manager.isComplete())
    worker('b').isFrozen = false
    await advance(3_000)
    beat('a')
    beat('b')
    await settle()
    holdersAre(['a', 'b'])
  })

  it('a worker that joins takes shards over without a gap', async () => {
    join('a', 'b')
    await settle()
    workers.set('c', { shards: [], isFrozen: false, loads: [], asked: [] })
    beat('c')
    await settle()
    holdersAre(['a', 'b'])
    assert.ok(tableIsTrue())
    worker('c').loads?.forEach((load) => load())
    await settle()
    holdersAre(['a', 'b', 'c'])
    assert.ok(tableIsTrue())
  })

  it('a draining worker stays in the table until its successor confirmed, then is wanted for nothing (L4)', async () => {
    join('a', 'b')
    await settle()
    worker('a').loads = []
    beat('b', 'draining')
    await settle()
    holdersAre(['a', 'b'])
    assert.ok(manager.isComplete())
    assert.equal(worker('b').shards.length, NUM_SHARDS / 2)
    worker('a').loads?.forEach((load) => load())
    await settle()
    holdersAre(['a'])
    assert.deepEqual(worker('b').shards, [])
  })

  it('nobody drops a shard that a step under way may ask for (L4)', async () => {
    join('a', 'b')
    await settle()
    const step = manager.hold()
    beat('b', 'draining')
    await settle()
    holdersAre(['a'])
    assert.equal(worker('b').shards.length, NUM_SHARDS / 2)
    step.release()
    await settle()
    assert.deepEqual(worker('b').shards, [])
  })

  it('with nobody to take over, the last worker keeps its shards while it drains', async () => {
    join('a', 'b')
    await settle()
    workers.delete('a')
    beat('a', 'stopped')
    await settle()
    holdersAre(['b'])
    beat('b', 'draining')
    await settle()
    holdersAre(['b'])
    assert.equal(worker('b').shards.length, NUM_SHARDS)
    join('c')
    await settle()
    holdersAre(['c'])
    assert.deepEqual(worker('b').shards, [])
  })

  const joinWithRoom = async (rooms: Readonly<Record<string, number>>): Promise<void> => {
    for (const [id, most] of Object.entries(rooms))
      workers.set(id, { shards: [], isFrozen: false, loads: undefined, asked: [], most })
    for (const id of Object.keys(rooms)) beat(id)
    await settle()
  }
  const beatFor = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 500) {
      for (const id of workers.keys()) beat(id)
      await advance(500)
    }
  }

  it('what a worker has no room for goes to others, and it is not asked for it again for a while (L7)', async () => {
    await joinWithRoom({ a: 2, b: 6 })
    holdersAre(['a', 'b'])
    assert.ok(manager.isComplete() && tableIsTrue())
    assert.deepEqual([worker('a').shards.length, worker('b').shards.length], [2, 6])
    assert.equal(manager.lack, undefined)
    await beatFor(4_000)
    assert.deepEqual(
      worker('a').asked.map(({ length }) => length),
      [4, 2],
    )
    delete worker('a').most // it has room now: found out in seconds
    await beatFor(4_000)
    assert.ok(manager.isComplete() && tableIsTrue())
    assert.deepEqual([worker('a').shards.length, worker('b').shards.length], [4, 4])
  })

  it('shards that nobody has room for are told of in one line, and asked for ever more rarely (L7)', async () => {
    await joinWithRoom({ a: 2, b: 5 })
    assert.deepEqual([manager.isComplete(), manager.isStuck], [false, true])
    assert.match(
      manager.lack ?? '',
      /^shard 7 has no expert worker with room: each wants 2\.00 GB; most is left on [ab], 500\.0 MB beside [25] shards \(a limit\); add/,
    )
    await beatFor(60_000)
    const { asked, shards } = worker('a')
    assert.equal(shards.length, 2)
    assert.ok(asked.length < 12, `${asked.length} times`)
    await joinWithRoom({ c: 8 })
    assert.ok(manager.isComplete() && tableIsTrue())
    assert.equal(manager.lack, undefined)
  })

  it('replicas rise and fall', async () => {
    join('a', 'b')
    await settle()
    manager.setReplicas(2)
    await settle()
    assert.equal(manager.copies, 2)
    assert.ok(tableIsTrue())
    const { epoch } = manager
    manager.setReplicas(1)
    await settle()
    assert.equal(manager.copies, 1)
    assert.ok(manager.epoch > epoch && tableIsTrue())
    assert.equal(worker('a').shards.length + worker('b').shards.length, NUM_SHARDS)
  })

  it('after distrust every worker is asked again, and the table names its holders meanwhile', async () => {
    join('a', 'b')
    await settle()
    worker('a').loads = []
    manager.distrust()
    await settle()
    holdersAre(['a', 'b'])
    assert.equal(worker('a').asked.length, 2)
  })

  it('a router that comes later takes over who holds what', async () => {
    for (const id of ['a', 'b']) workers.set(id, { shards: [], isFrozen: false, loads: undefined, asked: [] })
    const given: Readonly<Record<string, number[]>> = { a: [1, 3, 5, 7], b: [0, 2, 4, 6] }
    for (const [id, shards] of Object.entries(given)) {
      membership.observe(
        {
          kind: 'worker.heartbeat',
          role: 'expert-worker',
          id,
          incarnation: id,
          pid: 1,
          state: 'ready',
          deviceClass: 'c',
          fingerprint: 'f',
          shards,
          capacity: { kvTokens: 0, maxRows: 0 },
          load: {},
        },
        0,
      )
    }
    await settle()
    for (const [id, shards] of Object.entries(given)) assert.deepEqual(worker(id).shards, shards)
  })

  it('a worker that stands by is told that nothing is wanted of it, counts as one that came, and may serve later', async () => {
    manager.stop()
    const serving = new Set(['a'])
    manager = managerFor(membership, {
      accepts: ({ id }) => serving.has(id),
      standsBy: ({ id }) => !serving.has(id),
    })
    join('a', 'b')
    await settle()
    holdersAre(['a'])
    assert.deepEqual(worker('b').asked, [[]])
    serving.delete('a')
    serving.add('b')
    manager.reconcile()
    await settle()
    holdersAre(['b'])
    assert.deepEqual(worker('a').shards, [])
  })

  it('two routers that see workers join in another order come to one plan, and a new lead keeps it (L6)', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    for (const id of ids) workers.set(id, { shards: [], isFrozen: false, loads: undefined, asked: [] })
    const routers = [ids, [...ids].reverse()].map((order, i) => {
      const seen = createMembership()
      let leads = i === 0
      const made: PlacementManager = managerFor(seen, { isLead: () => leads })
      return { seen, order, made, lead: (does: boolean) => void (leads = does) }
    })
    const [first, second] = routers
    assert.ok(first !== undefined && second !== undefined)
    const exchange = (): void => {
      first.made.heard(second.made.agreed)
      second.made.heard(first.made.agreed)
    }
    const same = async (): Promise<void> => {
      await settle()
      exchange()
      await settle()
      assert.deepEqual(first.made.table, second.made.table)
      assert.ok(first.made.table.every((holders) => holders.length === 1))
    }
    const each = (members: (order: readonly string[]) => readonly string[], state?: Heartbeat['state']): void => {
      for (const { seen, order } of routers) for (const id of members(order)) beat(id, state, seen)
    }
    for (let joined = 2; joined <= ids.length; joined++) {
      each((order) => order.filter((id) => ids.indexOf(id) < joined))
      await same()
    }
    each(() => ['b'], 'stopped')
    await settle()
    assert.deepEqual(first.made.table, second.made.table, 'before they hear of each other')
    await same()
    const before = first.made.table
    first.lead(false)
    second.lead(true)
    second.made.reconcile()
    await same()
    assert.deepEqual(first.made.table, before)
    const hot = before.map((holders, shard) =>
      shard === 0 ? ids.filter((id) => id !== 'b' && !holders.includes(id)) : [],
    )
    second.made.adopt({ ...second.made.plan, extra: hot.map((more) => more.slice(0, 1)) })
    await settle()
    exchange()
    await settle()
    assert.equal(first.made.table[0]?.length, 2)
    assert.deepEqual(first.made.table, second.made.table)
    for (const { made } of routers) made.stop()
  })
})
