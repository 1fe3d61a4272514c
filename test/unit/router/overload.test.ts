// More work than room: what is preempted, parked, refused by a worker or left without one ends as it should, and with the
// tokens of a quiet run where it ends well.

import assert from 'node:assert/strict'
import { trace } from '@opentelemetry/api'
import fc from 'fast-check'
import type { Clock } from '../../../lib/actor/actor.js'
import { createManualClock, systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { createCostModel } from '../../../services/router/cost-model.js'
import { createHomeless, HOMELESS_MS } from '../../../services/router/homeless.js'
import { createMembership } from '../../../services/router/membership.js'
import { createScheduler, type Scheduler } from '../../../services/router/scheduler.js'
import { createStepLoop, type StepLoop } from '../../../services/router/step-loop.js'
import { eventually } from '../../helpers/eventually.js'
import { noDrafts } from './drafts.js'
import { placed } from './placed.js'
import { createTestSequence, promptOf, type TestSequence } from './sequences.js'
import { plainTokens, startToyAttention, type ToyAttention, type ToyFaults } from './toy-attention.js'

const limits = { kvTokens: 640, maxRunning: 8, tokenBudget: 256, prefillChunk: 256, maxTreeNodes: 8, prefixCache: true }

const ids = (sequences: readonly { readonly id: string }[]): string[] => sequences.map(({ id }) => id)

/** Plans a step and commits it: a decoding sequence gets a token. */
function runStep(scheduler: Scheduler): string[] {
  const rows = scheduler.schedule()
  for (const { sequence, tree, sampled } of rows) {
    sequence.base += tree.tokens.length
    sequence.epoch += 1
    if (sampled.length > 0) sequence.tokens.push(1)
  }
  return ids(rows.map(({ sequence }) => sequence))
}

describe('scheduler under overload', () => {
  it('preempts the lowest class first, of it the youngest (Z2)', () => {
    const scheduler = createScheduler({ ...limits, kvTokens: 128, prefixCache: false })
    const [low, normal, high] = (['low', 'normal', 'high'] as const).map((priority) => ({
      ...createTestSequence(priority, promptOf(40)),
      priority,
    }))
    scheduler.enqueue(low!)
    runStep(scheduler)
    for (const later of [normal!, high!]) scheduler.enqueue(later)
    runStep(scheduler)
    assert.deepEqual(ids(scheduler.running), ['low', 'high'])
    scheduler.remove(high!)
    runStep(scheduler)
    assert.deepEqual(ids(scheduler.running), ['low', 'normal'])
    while (scheduler.preemptions === 0) runStep(scheduler)
    assert.deepEqual([ids(scheduler.running), ids(scheduler.waiting)], [['normal'], ['low']])
  })

  it('a smaller share preempts at the next step, and leaves a sequence alone with what it has', () => {
    const scheduler = createScheduler({ ...limits, prefixCache: false })
    const [a, b] = [createTestSequence('a', promptOf(200)), createTestSequence('b', promptOf(200))]
    for (const sequence of [a, b]) scheduler.enqueue(sequence)
    runStep(scheduler)
    runStep(scheduler)
    scheduler.resize(160)
    assert.deepEqual(ids(scheduler.running), ['a', 'b'])
    assert.deepEqual(runStep(scheduler), ['a'])
    assert.deepEqual([scheduler.takeReleased(), ids(scheduler.waiting)], [['b'], ['b']])
    for (let i = 0; i < 100; i++) assert.deepEqual(runStep(scheduler), ['a'])
    scheduler.remove(a)
    assert.deepEqual(runStep(scheduler), ['b'])
  })

  it('a parked sequence is in no step, keeps its KV while there is room, and gives way where there is none (Z5)', () => {
    const scheduler = createScheduler({ ...limits, kvTokens: 320, prefixCache: false })
    const slow = createTestSequence('slow', promptOf(100))
    scheduler.enqueue(slow)
    runStep(scheduler)
    slow.isPaused = true
    const small = createTestSequence('small', promptOf(20))
    scheduler.enqueue(small)
    assert.deepEqual(runStep(scheduler), ['small'])
    assert.deepEqual([ids(scheduler.parked), slow.base, scheduler.takeReleased()], [['slow'], 100, []])
    slow.isPaused = false
    assert.deepEqual(runStep(scheduler), ['small', 'slow'])
    slow.isPaused = true
    const large = createTestSequence('large', promptOf(250))
    scheduler.enqueue(large)
    runStep(scheduler)
    assert.deepEqual([slow.base, scheduler.takeReleased()], [0, ['slow']])
    scheduler.remove(large)
    slow.isPaused = false
    assert.deepEqual(runStep(scheduler), ['small', 'slow'])
    for (const sequence of [small, slow]) scheduler.remove(sequence)
    assert.deepEqual([scheduler.blocks.used, scheduler.numWaiting, ids(scheduler.parked)], [0, 0, []])
  })

  it('any mix of classes, readers that stop and shares that change ends, and gives every block back', () => {
    const job = fc.record({
      prompt: fc.integer({ min: 1, max: 60 }),
      output: fc.integer({ min: 1, max: 40 }),
      priority: fc.constantFrom('high', 'normal', 'low'),
      tenant: fc.constantFrom('a', 'b'),
    } as const)
    const change = fc.record({ index: fc.nat(11), kvTokens: fc.integer({ min: 16, max: 400 }) })
    fc.assert(
      fc.property(fc.array(job, { maxLength: 12 }), fc.array(change, { maxLength: 60 }), (jobs, changes) => {
        let nowMs = 0
        const scheduler = createScheduler({ ...limits, kvTokens: 400, tokenBudget: 32 }, undefined, {
          now: () => nowMs,
        })
        const sequences = jobs.map(({ prompt, output, priority, tenant }, i): TestSequence =>
          Object.assign(createTestSequence(`s${i}`, promptOf(prompt, i), output), { priority, tenant }),
        )
        for (const sequence of sequences) scheduler.enqueue(sequence)
        const wanted = new Map(jobs.map(({ prompt, output }, i): [string, number] => [`s${i}`, prompt + output]))
        for (let step = 0; ; step++) {
          assert.ok(step < 20_000, 'it ends')
          nowMs += 100
          const { index = 0, kvTokens = 64 } = changes[step] ?? {}
          const isOver = step >= changes.length
          for (const [i, sequence] of sequences.entries()) sequence.isPaused = !isOver && i === index
          scheduler.resize(kvTokens)
          const rows = scheduler.schedule()
          for (const { sequence } of rows) assert.ok(scheduler.running.includes(sequence))
          const isAlone = scheduler.running.length <= 1
          const { used, kept, capacity, whole } = scheduler.blocks
          assert.ok(used + kept <= (isAlone ? whole : capacity), `${used} + ${kept} of ${capacity}`)
          if (rows.length === 0 && isOver) break
          for (const { sequence, tree, sampled } of rows) {
            scheduler.note(sequence, sequence.base + tree.tokens.length)
            sequence.base += tree.tokens.length
            sequence.epoch += 1
            if (sampled.length > 0) sequence.tokens.push(1)
            if (sequence.tokens.length >= (wanted.get(sequence.id) ?? 0)) scheduler.retire(sequence)
          }
        }
        const { running, numWaiting, parked, blocks } = scheduler
        assert.deepEqual([running.length, numWaiting, parked.length, blocks.used], [0, 0, 0, 0])
      }),
      { numRuns: 200 },
    )
  })
})

describe('a worker without room', () => {
  let attention: ToyAttention
  let loop: StepLoop
  afterEach(async () => {
    loop.stop()
    await attention.stop()
  })

  /** Delays are a hundredth of what they are. */
  const fast: Clock = {
    ...systemClock,
    now: () => Date.now() * 100,
    after: (delayMs, run) => {
      const timer = setTimeout(run, delayMs / 100)
      return () => clearTimeout(timer)
    },
  }

  function start(faults: ToyFaults): Scheduler {
    const scheduler = createScheduler(limits, undefined, { now: () => fast.now() })
    attention = startToyAttention('attention', faults)
    loop = createStepLoop({
      scheduler,
      cost: createCostModel({ layers: 0, experts: 0, topK: 0 }),
      isTypical: false,
      placement: placed,
      worker: 'attention',
      proposer: noDrafts,
      membership: createMembership(),
      system: attention.system,
      clock: fast,
      tracer: trace.getTracer('test'),
      newStepId: () => 'step',
      owner: { router: 'router', incarnation: 'router-1' },
      stale: [],
      onWorkerLost: () => undefined,
      onStep: () => undefined,
    })
    return scheduler
  }

  it('gets the sequence again later: its tokens are those of a quiet run', async () => {
    let numSteps = 0
    const scheduler = start({ isFull: () => (numSteps += 1) % 7 < 3 })
    const sequence = createTestSequence('s', promptOf(30), 20)
    scheduler.enqueue(sequence)
    loop.kick()
    await eventually(() => sequence.emitter.isClosed, 'it ends')
    assert.deepEqual([sequence.emitted, sequence.failures], [plainTokens(promptOf(30), 20), []])
  })

  it('that never has any ends the sequence as `resource_exhausted`, after a pause that grows', async () => {
    const scheduler = start({ isFull: ({ sequence }) => sequence === 'large' })
    const [large, small] = [createTestSequence('large', promptOf(30), 20), createTestSequence('small', promptOf(4), 20)]
    scheduler.enqueue(large)
    const startedMs = fast.now()
    loop.kick()
    await eventually(() => large.emitter.isClosed, 'it ends')
    const [failure] = large.failures
    assert.ok(failure instanceof ClusterError)
    assert.deepEqual([failure.code, failure.details.reason], ['resource_exhausted', 'KV_FULL'])
    assert.ok(fast.now() - startedMs > 20_000, 'others had time to end')
    scheduler.enqueue(small)
    loop.kick()
    await eventually(() => small.emitter.isClosed, 'the next one ends')
    assert.deepEqual(small.emitted, plainTokens(promptOf(4), 20))
  })
})

describe('sequences without a worker', () => {
  it('end as `unavailable` after a while, each after its own', () => {
    const clock = createManualClock()
    const homeless = createHomeless(clock)
    const [a, b, c] = ['a', 'b', 'c'].map((id) => createTestSequence(id, promptOf(4)))
    homeless.add(a!)
    clock.advance(HOMELESS_MS / 2)
    for (const later of [b!, c!]) homeless.add(later)
    homeless.remove([c!])
    clock.advance(HOMELESS_MS / 2)
    assert.deepEqual(ids(homeless.sequences), ['b'])
    const [failure] = a!.failures
    assert.ok(failure instanceof ClusterError && failure.code === 'unavailable')
    assert.deepEqual(ids(homeless.takeAll()), ['b'])
    assert.deepEqual([c!.failures, b!.failures, clock.numTimers], [[], [], 0])
  })
})
