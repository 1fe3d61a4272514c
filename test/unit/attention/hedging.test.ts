// A late expert worker costs a step little where another holds the same shards, and is waited for where none does.

import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { createManualClock, type ManualClock } from '../../../lib/actor/clock.js'
import { pingAddress } from '../../../lib/actor/ping.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { route } from '../../../lib/decode/gate.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { shardPlan } from '../../../lib/model/expert-shards.js'
import { packI32 } from '../../../lib/wire/tensor.js'
import type { DispatchContext } from '../../../services/attention/dispatch-context.js'
import { dispatch } from '../../../services/attention/dispatch.js'
import { createExpertPeers } from '../../../services/attention/expert-peers.js'
import { goldenModel } from '../../helpers/paths.js'
import { startExpertWorkers, type ExpertWorkers } from './expert-workers.js'

const LATE_MS = 300 // before anything is known of a worker
const every = [0, 1, 2, 3, 4, 5, 6, 7]

describe('hedging', () => {
  const layer = 1
  const kernels = sharedKernels(1)
  const rows = 5
  let checkpoint: Checkpoint
  let workers: ExpertWorkers
  let clock: ManualClock
  let plain: Float32Array
  let held: (() => void)[] // questions that are under way to a worker that does not answer

  before(async () => {
    checkpoint = openCheckpoint(goldenModel('qwen2-moe'))
    workers = await startExpertWorkers(checkpoint, { a: every, b: every, c: [0, 1, 2, 3] })
  })
  after(async () => {
    await workers.stop()
    checkpoint.close()
  })
  beforeEach(async () => {
    clock = createManualClock()
    held = []
    plain = await run(contextFor({ replicas: () => ['b'] }))
  })

  /** The workers' system; what is asked of `frozen` waits until the test lets it through, or its asker gives up. */
  function withFrozen(frozen: readonly string[]): ActorSystem {
    const isFrozen = (address: string): boolean => frozen.some((id) => address === id || address === pingAddress(id))
    return {
      ...workers.system,
      clock,
      ask: async (address, message, options) => {
        if (isFrozen(address)) {
          await new Promise<void>((resolve, reject) => {
            if (message.kind === 'expert.compute') held.push(resolve)
            options.signal?.addEventListener('abort', () => reject(new ClusterError('cancelled', 'given up')))
          })
        }
        return workers.system.ask(address, message, options)
      },
    }
  }

  function contextFor(options: {
    readonly replicas: (shard: number) => readonly string[]
    readonly frozen?: readonly string[]
    readonly areKnown?: boolean // the workers have answered before
    readonly hedges?: boolean
  }): DispatchContext {
    const system = withFrozen(options.frozen ?? [])
    const peers = createExpertPeers(system, { hedges: options.hedges ?? true })
    if (options.areKnown === true) for (const id of ['a', 'b', 'c']) peers.answered(id, 1, 1)
    return {
      system,
      neighbours: new Map(),
      peers,
      replicas: every.map(options.replicas),
      step: 'step',
      plan: shardPlan(checkpoint.spec),
      timeoutMs: 60_000,
      microBatches: 1,
      signal: new AbortController().signal,
      failed: new Set(),
      slow: new Set(),
      used: new Set(),
      counters: { distinctExperts: 0, expertRows: { note: () => undefined, totals: () => packI32([]) } },
    }
  }

  async function run(context: DispatchContext): Promise<Float32Array> {
    const { spec } = checkpoint
    const ffn = spec.layers[layer]?.ffn ?? assert.fail()
    const routes = route(ffn, rows, probeValues(rows * (ffn.experts.length + 1), 4, 6))
    const size = rows * spec.hidden
    const [x, delta] = [kernels.allocate(size * 4), kernels.allocate(size * 4)]
    kernels.floats(x, size).set(probeValues(size, 9, 2))
    try {
      await dispatch(context, layer, { kernels, hidden: spec.hidden, x, isRounded: false, delta }, routes)
      return kernels.floats(delta, size).slice()
    } finally {
      kernels.release(x)
      kernels.release(delta)
    }
  }

  /** Moves time on in small steps while messages travel, until `isDone` or for so long. */
  async function pass(ms: number, isDone = (): boolean => false): Promise<void> {
    for (let passed = 0; passed < ms && !isDone(); passed += 10) {
      clock.advance(10)
      for (let i = 0; i < 4; i++) await turn()
    }
  }

  /** Runs a layer while time passes; says how it ended and when. */
  async function timed(context: DispatchContext, maxMs = 30_000) {
    let isDone = false
    const startMs = clock.now()
    const running = run(context).finally(() => (isDone = true))
    running.catch(() => undefined)
    await pass(maxMs, () => isDone)
    return { running, tookMs: clock.now() - startMs }
  }

  it('asks another replica when one is late: the same bits, and the late one is asked last from then on', async () => {
    const told: string[] = []
    const note = (event: string): void => void told.push(event)
    const context = { ...contextFor({ replicas: () => ['a', 'b'], frozen: ['a'] }), note }
    const { running, tookMs } = await timed(context)
    assert.deepEqual(await running, plain)
    assert.deepEqual(told, ['banyan.expert.hedged', 'banyan.expert.hedge_won'])
    assert.ok(tookMs >= LATE_MS && tookMs < LATE_MS + 100, `${tookMs} ms`)
    assert.deepEqual([[...context.slow], [...context.failed], context.peers.avoided()], [['a'], [], ['a']])
    assert.deepEqual(context.peers.load, { hedges: 1, hedgesWon: 1 })
    const next = await timed(context)
    assert.deepEqual([await next.running, next.tookMs < 100, held.length], [plain, true, 1])
  })

  it('the shards of one late worker may lie with several others', async () => {
    const context = contextFor({ replicas: (shard) => (shard < 4 ? ['a', 'c'] : ['a', 'b']), frozen: ['a'] })
    const { running } = await timed(context)
    assert.deepEqual([await running, context.peers.load.hedges], [plain, 1])
  })

  it('takes the late answer where it comes first, and holds nothing against the worker', async () => {
    const context = contextFor({ replicas: () => ['a', 'b'], frozen: ['a', 'b'] })
    const { running } = await timed(context, LATE_MS + 50)
    assert.equal(held.length, 2)
    held[0]?.()
    assert.deepEqual([await running, [...context.slow]], [plain, []])
    assert.deepEqual(context.peers.load, { hedges: 1, hedgesWon: 0 })
  })

  it('waits for the only holder as long as it answers pings, and asks it once more', async () => {
    const context = contextFor({ replicas: () => ['a'], frozen: ['a'], areKnown: true })
    const alive: ActorSystem = {
      ...context.system,
      ask: (address, message, options) =>
        (address === pingAddress('a') ? workers.system : context.system).ask(address, message, options),
    }
    const { running, tookMs } = await timed({ ...context, system: alive }, 10_000)
    assert.deepEqual([tookMs, held.length], [10_000, 2])
    held[1]?.() // the first one was lost on the way
    assert.deepEqual([await running, [...context.slow], [...context.failed]], [plain, [], []])
  })

  it('a slow worker is asked where it is the only holder (F1)', async () => {
    const context = contextFor({ replicas: () => ['a'] })
    context.slow.add('a')
    assert.deepEqual(await run(context), plain)
  })

  it('gives up the only holder where it is silent, naming the shard (I6)', async () => {
    const context = contextFor({ replicas: () => ['a'], frozen: ['a'], areKnown: true })
    const { running, tookMs } = await timed(context)
    await assert.rejects(running, (error) => ClusterError.from(error).details.reason === 'EXPERT_UNAVAILABLE')
    assert.ok(tookMs >= 1_500 && tookMs < 2_000, `${tookMs} ms`)
    assert.deepEqual([...context.failed], ['a'])
  })

  it('gives a worker of whom nothing is known more time', async () => {
    const { running, tookMs } = await timed(contextFor({ replicas: () => ['a'], frozen: ['a'] }))
    await assert.rejects(running, (error) => ClusterError.from(error).details.reason === 'EXPERT_UNAVAILABLE')
    assert.ok(tookMs >= 10_000 && tookMs < 11_000, `${tookMs} ms`)
  })

  it('keeps to its budget: without it a silent worker is left when it is missed', async () => {
    const context = contextFor({ replicas: () => ['a', 'b'], frozen: ['a'], areKnown: true })
    while (context.peers.takeHedge());
    const { running, tookMs } = await timed(context)
    assert.deepEqual(await running, plain)
    assert.ok(tookMs >= 1_500 && tookMs < 2_000, `${tookMs} ms`)
    assert.deepEqual([...context.failed], ['a'])
  })

  it('where hedging is off nobody else is asked while the late one may still answer', async () => {
    const shape = { replicas: () => ['a', 'b'], frozen: ['a'], areKnown: true } as const
    const context = contextFor({ ...shape, hedges: false })
    const { running, tookMs } = await timed(context)
    assert.deepEqual(await running, plain)
    assert.ok(tookMs >= 1_500 && tookMs < 2_000, `${tookMs} ms`)
    assert.deepEqual([[...context.failed], context.peers.load.hedges], [['a'], 0])
  })

  it('an aborted step leaves no question and no timer', async () => {
    const abort = new AbortController()
    const context = { ...contextFor({ replicas: () => ['a', 'b'], frozen: ['a', 'b'] }), signal: abort.signal }
    const { running } = await timed(context, LATE_MS + 50)
    abort.abort()
    await assert.rejects(running, { code: 'cancelled' })
    await pass(20)
    assert.equal(clock.numTimers, 0)
  })
})
