// What a router promises a request is what its attention workers hold; and what a worker that comes or goes does to the
// sequences, the capacity and the queue.

import assert from 'node:assert/strict'
import { trace } from '@opentelemetry/api'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import { ClusterError } from '../../../lib/errors.js'
import { createCostModel } from '../../../services/router/cost-model.js'
import { createMembership } from '../../../services/router/membership.js'
import { createScheduler } from '../../../services/router/scheduler.js'
import { createAttentionWorkers } from '../../../services/router/workers.js'
import { eventually } from '../../helpers/eventually.js'
import { noDrafts } from './drafts.js'
import { placed, routerOptions } from './placed.js'
import { createTestSequence, promptOf } from './sequences.js'
import { plainTokens, startToyAttention, type ToyAttention } from './toy-attention.js'

const limits = { kvTokens: 64, maxRunning: 8, tokenBudget: 64, prefillChunk: 16, maxTreeNodes: 4, prefixCache: true }

const beat = (fields: Partial<Heartbeat> & Pick<Heartbeat, 'role' | 'id'>): Heartbeat => ({
  kind: 'worker.heartbeat',
  incarnation: `${fields.id}-1`,
  pid: 1,
  state: 'ready',
  deviceClass: 'c',
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 1000, maxRows: 0 },
  load: {},
  ...fields,
})

describe('attention workers', () => {
  let toy: ToyAttention
  beforeEach(() => {
    toy = startToyAttention('attention')
  })
  afterEach(() => toy.stop())

  const start = (system = toy.system) => {
    const membership = createMembership()
    const workers = createAttentionWorkers({
      membership,
      system,
      tracer: trace.getTracer('test'),
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      placement: placed,
      proposer: noDrafts,
      limits: { ...limits, ...routerOptions },
      accepts: () => true,
      costModel: () => createCostModel({ layers: 0, experts: 0, topK: 0 }),
      owner: { router: 'router', incarnation: 'router-1' },
      newStepId: () => 'step',
      onStep: () => undefined,
    })
    return { membership, workers }
  }

  it('promises whole blocks only: what it promises, a scheduler holds', () => {
    const { membership, workers } = start()
    membership.observe(beat({ role: 'attention', id: 'attention', capacity: { kvTokens: 100, maxRows: 0 } }), 0)
    assert.equal(workers.kvTokens, 96)
  })

  it('promises the same however many routers share the worker', () => {
    const { membership, workers } = start()
    for (const id of ['r0', 'r1']) membership.observe(beat({ role: 'router', id }), 0)
    membership.observe(beat({ role: 'attention', id: 'attention', capacity: { kvTokens: 640, maxRows: 0 } }), 0)
    membership.observe(beat({ role: 'router', id: 'r1', state: 'stopped' }), 0)
    assert.equal(workers.kvTokens, 640)
  })

  it('keeps sequences without a worker until one comes', async () => {
    const { membership, workers } = start()
    const sequence = createTestSequence('s', promptOf(5), 4)
    workers.submit([sequence])
    assert.equal(workers.numWaiting, 1)
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    await eventually(() => sequence.emitter.isClosed, 'the sequence ended')
    assert.deepEqual(sequence.emitted, plainTokens(promptOf(5), 4))
    workers.stop()
  })

  it('runs a lost worker’s sequences again on its next incarnation: no token lost or doubled (N2)', async () => {
    const { membership, workers } = start()
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    const sequence = createTestSequence('s', promptOf(5), 30)
    workers.submit([sequence])
    await eventually(() => sequence.emitted.length > 3, 'it is under way')
    membership.observe(beat({ role: 'attention', id: 'attention', incarnation: 'next' }), 1)
    await eventually(() => sequence.emitter.isClosed, 'the sequence ended')
    assert.deepEqual(sequence.emitted, plainTokens(promptOf(5), 30))
    workers.stop()
  })

  it('a worker that was only silent for a while keeps nothing of what moved on', async () => {
    const { membership, workers } = start()
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    const sequence = createTestSequence('s', promptOf(5), 900)
    workers.submit([sequence])
    await eventually(() => sequence.emitted.length > 3, 'it is under way')
    membership.suspect('attention')
    await eventually(() => toy.held.size === 0, 'nothing is held')
    assert.equal(workers.numWaiting, 1)
    workers.stop()
  })

  it('when other classes serve, a worker forgets everything and begins anew with what is asked next', async () => {
    const { membership, workers } = start()
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    const before = createTestSequence('s', promptOf(40), 900)
    workers.submit([before])
    await eventually(() => before.emitted.length > 3, 'it is under way')
    before.emitter.fail(new ClusterError('unavailable', 'other device classes serve now'))
    workers.cancel([before])
    workers.reset()
    assert.equal(workers.kvBlocks.used + workers.kvBlocks.kept, 0, 'no prefix is kept')
    const next = createTestSequence('t', promptOf(40), 4)
    workers.submit([next])
    await eventually(() => next.emitter.isClosed, 'the next one ended')
    assert.deepEqual([next.emitted, next.cachedTokens], [plainTokens(promptOf(40), 4), 0])
    await eventually(() => !toy.held.has('s'), 'nothing of the first is held')
    workers.stop()
  })

  it('a draining worker ends its step, gives its sequences up and gets no new ones', async () => {
    const { membership, workers } = start()
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    const sequence = createTestSequence('s', promptOf(5), 900)
    workers.submit([sequence])
    await eventually(() => sequence.emitted.length > 3, 'it is under way')
    membership.observe(beat({ role: 'attention', id: 'attention', state: 'draining' }), 0)
    workers.submit([createTestSequence('t', promptOf(5), 4)])
    await eventually(() => toy.held.size === 0, 'nothing is held')
    assert.equal(workers.numWaiting, 2)
    const numSteps = toy.steps.length
    assert.deepEqual(sequence.emitted, plainTokens(promptOf(5), sequence.emitted.length))
    assert.equal(sequence.emitted.length, numSteps) // no step's tokens were thrown away: one each, the prefill's included
    workers.stop()
  })

  it('tells a worker again what it must forget when it is back: the first time may be lost', async () => {
    const { membership, workers } = start({ ...toy.system, tell: () => undefined })
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    const sequence = createTestSequence('s', promptOf(5), 900)
    workers.submit([sequence])
    await eventually(() => sequence.emitted.length > 3, 'it is under way')
    membership.suspect('attention')
    sequence.emitter.fail(new ClusterError('cancelled', 'by the test'))
    workers.cancel([sequence])
    assert.equal(toy.held.size, 1)
    membership.observe(beat({ role: 'attention', id: 'attention' }), 1)
    await eventually(() => toy.held.size === 0, 'nothing is held')
    workers.stop()
  })

  it('a cancelled sequence leaves nothing on its worker', async () => {
    const { membership, workers } = start()
    membership.observe(beat({ role: 'attention', id: 'attention' }), 0)
    const sequence = createTestSequence('s', promptOf(5), 900)
    workers.submit([sequence])
    await eventually(() => sequence.emitted.length > 3, 'it is under way')
    sequence.emitter.fail(new ClusterError('cancelled', 'by the test'))
    workers.cancel([sequence])
    await eventually(() => toy.held.size === 0 && workers.kvUsage === 0, 'nothing is held')
    workers.stop()
  })
})

describe('membership', () => {
  it('a replaced incarnation never comes back, however long it beats (M1)', () => {
    const membership = createMembership()
    membership.observe(beat({ role: 'attention', id: 'a', incarnation: 'old' }), 0)
    for (let nowMs = 0; nowMs < 200_000; nowMs += 500) {
      membership.observe(beat({ role: 'attention', id: 'a', incarnation: 'new' }), nowMs)
      membership.observe(beat({ role: 'attention', id: 'a', incarnation: 'old' }), nowMs)
      membership.tick(nowMs)
    }
    assert.deepEqual(
      membership.live('attention').map(({ incarnation }) => incarnation),
      ['new'],
    )
  })
})

describe('scheduler', () => {
  it('fails a sequence that never fits, and runs those behind it', () => {
    const scheduler = createScheduler(limits)
    const [large, small] = [createTestSequence('large', promptOf(64)), createTestSequence('small', promptOf(4))]
    for (const sequence of [large, small]) scheduler.enqueue(sequence)
    assert.deepEqual(
      scheduler.schedule().map(({ sequence }) => sequence.id),
      ['small'],
    )
    const [failure] = large.failures
    assert.ok(failure instanceof ClusterError && failure.details.reason === 'KV_TOO_SMALL')
  })
})
