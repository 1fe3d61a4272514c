// No deadline is missed silently: whatever a request waits for, it ends with `deadline_exceeded` in time, and nothing of it
// is left on a worker.

import assert from 'node:assert/strict'
import { trace } from '@opentelemetry/api'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import { createCostModel } from '../../../services/router/cost-model.js'
import { createMembership, type Membership } from '../../../services/router/membership.js'
import { createRequests, type RequestRecord } from '../../../services/router/requests.js'
import { createAttentionWorkers, type AttentionWorkers } from '../../../services/router/workers.js'
import { eventually } from '../../helpers/eventually.js'
import { noDrafts } from './drafts.js'
import { placed, routerOptions } from './placed.js'
import { createTestSequence, promptOf, type TestSequence } from './sequences.js'
import { startToyAttention, type ToyAttention, type ToyFaults } from './toy-attention.js'

const LATE_MS = 250 // at most, on a machine that is busy with other tests
const limits = {
  kvTokens: 10_000,
  maxRunning: 1,
  tokenBudget: 64,
  prefillChunk: 1,
  maxTreeNodes: 4,
  prefixCache: true,
  ...routerOptions,
}

const beat: Heartbeat = {
  kind: 'worker.heartbeat',
  role: 'attention',
  id: 'attention',
  incarnation: 'attention-1',
  pid: 1,
  state: 'ready',
  deviceClass: 'c',
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 10_000, maxRows: 0 },
  load: {},
}

interface Submitted {
  readonly record: RequestRecord
  readonly sequence: TestSequence
  readonly deadlineMs: number
}

interface Bench {
  readonly toy: ToyAttention
  readonly workers: AttentionWorkers
  readonly membership: Membership
  submit(id: string, promptLength: number, deadlineMs?: number): Submitted
}

describe('a deadline', () => {
  let bench: Bench | undefined
  afterEach(async () => {
    bench?.workers.stop()
    await bench?.toy.stop()
  })

  function start(faults: ToyFaults = {}): Bench {
    const toy = startToyAttention('attention', faults)
    const membership = createMembership()
    const workers = createAttentionWorkers({
      membership,
      system: toy.system,
      tracer: trace.getTracer('test'),
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      placement: placed,
      proposer: noDrafts,
      limits,
      accepts: () => true,
      costModel: () => createCostModel({ layers: 0, experts: 0, topK: 0 }),
      newStepId: () => 'step',
      owner: { router: 'router', incarnation: 'router-1' },
      onStep: () => undefined,
    })
    const requests = createRequests({
      clock: systemClock,
      cancelSequences: (sequences) => workers.cancel(sequences),
      onForgotten: () => undefined,
      onResume: () => workers.kick(),
    })
    bench = {
      toy,
      workers,
      membership,
      submit: (id, promptLength, deadlineMs) => {
        const record = requests.open({ id, tenant: '', bodyHash: '', deadlineMs })
        const sequence = createTestSequence(id, promptOf(promptLength), 100_000)
        record.sequences = [sequence]
        record.numOpen = 1
        workers.submit(record.sequences)
        return { record, sequence, deadlineMs: deadlineMs ?? Infinity }
      },
    }
    return bench
  }

  const states: readonly [
    name: string,
    faults: ToyFaults,
    reach: (bench: Bench) => Submitted | Promise<Submitted>,
    isReached: (submitted: Submitted, bench: Bench) => boolean,
  ][] = [
    ['without a worker', {}, (at) => at.submit('late', 4, Date.now() + 300), (_, { workers }) => workers.count === 0],
    [
      'waiting for a place',
      {},
      async (at) => {
        at.membership.observe(beat, 0)
        const { sequence } = at.submit('runs', 4)
        await eventually(() => sequence.emitted.length > 0, 'the place is taken')
        return at.submit('late', 4, Date.now() + 300)
      },
      ({ sequence }, { workers }) => sequence.base === 0 && workers.numWaiting === 1,
    ],
    [
      'while it is prefilled',
      {},
      (at) => {
        at.membership.observe(beat, 0)
        return at.submit('late', 9000, Date.now() + 300)
      },
      ({ sequence }) => sequence.base > 0 && sequence.emitted.length === 0,
    ],
    [
      'while it decodes',
      {},
      (at) => {
        at.membership.observe(beat, 0)
        return at.submit('late', 4, Date.now() + 300)
      },
      ({ sequence }) => sequence.emitted.length > 0,
    ],
    [
      'parked behind a slow reader',
      {},
      async (at) => {
        at.membership.observe(beat, 0)
        const submitted = at.submit('late', 4, Date.now() + 400)
        await eventually(() => submitted.sequence.emitted.length > 0, 'it runs')
        submitted.sequence.isPaused = true
        return submitted
      },
      (_, { workers }) => workers.numParked === 1,
    ],
    [
      'while lost experts are waited for',
      {
        afterStep: () =>
          new ClusterError('unavailable', 'by the test', { details: { reason: 'EXPERT_UNAVAILABLE', shard: '0' } }),
      },
      (at) => {
        at.membership.observe(beat, 0)
        return at.submit('late', 4, Date.now() + 300)
      },
      ({ sequence }, { toy }) => toy.steps.length > 1 && sequence.emitted.length === 0,
    ],
    [
      'while the worker has no room',
      { isFull: () => true },
      (at) => {
        at.membership.observe(beat, 0)
        return at.submit('late', 4, Date.now() + 300)
      },
      ({ sequence }) => sequence.restarts > 1,
    ],
  ]

  for (const [name, faults, reach, isReached] of states) {
    it(`${name}: the request ends with deadline_exceeded in time, and nothing is left of it`, async () => {
      const at = start(faults)
      const submitted = await reach(at)
      const { record, sequence, deadlineMs } = submitted
      await eventually(() => isReached(submitted, at) || record.log.isClosed, name)
      assert.equal(record.log.isClosed, false, 'it is in that state before its deadline')
      await eventually(() => record.log.isClosed, 'it ends')
      const lateMs = Date.now() - deadlineMs
      assert.deepEqual([record.outcome, record.log.error?.code], ['failed', 'deadline_exceeded'])
      assert.ok(lateMs >= 0 && lateMs < LATE_MS, `${lateMs} ms late`)
      assert.equal(sequence.failures.length, 1)
      const numLeft = name === 'waiting for a place' ? 1 : 0
      await eventually(() => at.workers.numRunning === numLeft && at.workers.numWaiting === 0, 'it is in no queue')
      await eventually(() => !at.toy.held.has('late'), 'the worker holds nothing of it')
      assert.equal(at.workers.numParked, 0)
    })
  }
})
