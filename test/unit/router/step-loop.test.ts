// The whole loop against a toy target: whatever is drafted, preempted, refused or lost on the way, the tokens are those of
// plain decoding (I1, I2), and nothing is held afterwards.

import assert from 'node:assert/strict'
import { trace } from '@opentelemetry/api'
import fc from 'fast-check'
import { systemClock } from '../../../lib/actor/clock.js'
import type { Clock } from '../../../lib/actor/actor.js'
import { ClusterError } from '../../../lib/errors.js'
import { fitTree } from '../../../lib/speculative/token-tree.js'
import type { TokenTree } from '../../../lib/speculative/token-tree.js'
import { readI32 } from '../../../lib/wire/tensor.js'
import { createCostModel } from '../../../services/router/cost-model.js'
import { createMembership } from '../../../services/router/membership.js'
import type { PlacementManager } from '../../../services/router/placement-manager.js'
import type { Proposer } from '../../../services/router/proposer.js'
import { createScheduler, type Scheduler } from '../../../services/router/scheduler.js'
import type { Sequence } from '../../../services/router/sequence.js'
import { createStepLoop, type StepLoop } from '../../../services/router/step-loop.js'
import type { StepReport } from '../../../services/router/step-report.js'
import { eventually } from '../../helpers/eventually.js'
import { draftsOf, noDrafts } from './drafts.js'
import { placed } from './placed.js'
import { createTestSequence, promptOf } from './sequences.js'
import { plainTokens, startToyAttention, toyTarget, VOCAB, type ToyAttention, type ToyFaults } from './toy-attention.js'

const impatient: Clock = {
  ...systemClock,
  after: (_, run) => {
    const handle = setImmediate(run)
    return () => clearImmediate(handle)
  },
}

const placement: PlacementManager = { ...placed, table: [['expert']], order: () => [['expert']] }

/** A tree that follows the target for a while, with wrong siblings between and a wrong end. */
function draftTree(sequence: Sequence, draw: (below: number) => number, maxNodes: number): TokenTree {
  const path = [...sequence.tokens]
  const tokens = path.slice(-1)
  const parents = [-1]
  for (let node = 0; tokens.length + 1 < maxNodes && draw(4) > 0;) {
    const right = toyTarget(path)
    const wrong = (right + 1 + draw(VOCAB - 1)) % VOCAB
    tokens.push(wrong, right)
    parents.push(node, node)
    node = tokens.length - 1
    path.push(right)
  }
  return fitTree({ tokens, parents }, sequence.base, sequence.promptLength + sequence.limits.maxTokens)
}

describe('step loop', () => {
  const limits = { kvTokens: 96, maxRunning: 6, tokenBudget: 24, prefillChunk: 7, maxTreeNodes: 8, prefixCache: true }
  let attention: ToyAttention | undefined
  let loop: StepLoop | undefined
  afterEach(async () => {
    loop?.stop()
    await attention?.stop()
  })

  let cost = createCostModel({ layers: 0, experts: 0, topK: 0 })
  interface LoopOptions {
    readonly faults?: ToyFaults
    readonly proposer?: Proposer
    readonly onWorkerLost?: () => void
    readonly onStep?: (step: StepReport) => void
  }
  function start(options: LoopOptions): Scheduler {
    const scheduler = createScheduler(limits)
    const worker = startToyAttention('attention', options.faults)
    let numSteps = 0
    attention = worker
    cost = createCostModel({ layers: 0, experts: 0, topK: 0 })
    loop = createStepLoop({
      scheduler,
      cost,
      isTypical: false,
      placement,
      worker: 'attention',
      proposer: options.proposer ?? noDrafts,
      membership: createMembership(),
      system: worker.system,
      clock: impatient,
      tracer: trace.getTracer('test'),
      owner: { router: 'router', incarnation: 'router-1' },
      stale: [],
      newStepId: () => `step-${(numSteps += 1)}`,
      onWorkerLost: options.onWorkerLost ?? (() => undefined),
      onStep: options.onStep ?? (() => undefined),
    })
    return scheduler
  }

  it('gives the tokens of plain decoding under drafts, preemption and faults, and keeps nothing', async () => {
    const job = fc.record({ prompt: fc.integer({ min: 1, max: 40 }), output: fc.integer({ min: 1, max: 40 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(job, { minLength: 1, maxLength: 6 }), fc.integer(), async (jobs, seed) => {
        const draw = createDraw(seed)
        const scheduler = start({
          faults: {
            refuse: () => draw(40) === 0,
            afterStep: (step) => {
              if (step.entries.length === 0) return undefined
              if (draw(30) === 0) return new ClusterError('cancelled', 'by the test')
              const details = { reason: 'EXPERT_UNAVAILABLE', shard: '0' }
              return draw(10) === 0 ? new ClusterError('unavailable', 'by the test', { details }) : undefined
            },
          },
          proposer: draftsOf((sequence, maxNodes) => draftTree(sequence, draw, maxNodes)),
        })
        const sequences = jobs.map(({ prompt, output }, i) => createTestSequence(`s${i}`, promptOf(prompt, i), output))
        for (const sequence of sequences) scheduler.enqueue(sequence)
        loop?.kick()
        await eventually(() => sequences.every(({ emitter }) => emitter.isClosed), 'every sequence ended')
        scheduler.takeAll() // and what was kept for its prefixes
        loop?.kick()
        await eventually(() => attention?.held.size === 0, 'the worker holds nothing')
        assert.deepEqual([scheduler.blocks.used, scheduler.running, scheduler.waiting], [0, [], []])
        for (const [i, { prompt, output }] of jobs.entries()) {
          assert.deepEqual(sequences[i]?.failures, [])
          assert.deepEqual(sequences[i].emitted, plainTokens(promptOf(prompt, i), output))
        }
        loop?.stop()
        await attention?.stop()
      }),
      { numRuns: 30 },
    )
  })

  it('takes a step without drafts now and then where all have some: what drafts cost is told by comparing', async () => {
    const proposer = draftsOf(({ tokens }) => ({ tokens: [tokens.at(-1)!, toyTarget(tokens)], parents: [-1, 0] }))
    let numAsked = 0
    const counting: Proposer = { ...proposer, propose: (...ask) => ((numAsked += 1), proposer.propose(...ask)) }
    let numSteps = 0
    const scheduler = start({ proposer: counting, onStep: () => void (numSteps += 1) })
    for (let i = 0; i < 3; i++) {
      const sequence = createTestSequence(`s${i}`, promptOf(1, i), 66)
      scheduler.enqueue(sequence)
      loop?.kick()
      await eventually(() => sequence.emitter.isClosed, 'the sequence ended')
      assert.deepEqual(sequence.emitted, plainTokens(promptOf(1, i), 66))
    }
    const numDecoding = numSteps - 3 // all but those of the prompts
    assert.ok(numDecoding > 64, `${numDecoding} steps`)
    assert.ok(numAsked < numDecoding && numAsked >= 0.9 * numDecoding, `asked in ${numAsked} of ${numDecoding} steps`)
  })

  it('verifies half of a tree now and then: what a node costs is told by trees of several sizes', async () => {
    const chain = (tokens: readonly number[]): number[] => {
      const path = [...tokens]
      for (let i = 0; i < 6; i++) path.push(toyTarget(path))
      return path.slice(tokens.length - 1)
    }
    const proposer = draftsOf(({ tokens }) => ({ tokens: chain(tokens), parents: [-1, 0, 1, 2, 3, 4, 5] }))
    const sizes: number[] = []
    const scheduler = start({ proposer, onStep: ({ drafted }) => void sizes.push(drafted) })
    const sequence = createTestSequence('s', promptOf(1), 66)
    scheduler.enqueue(sequence)
    loop?.kick()
    await eventually(() => sequence.emitter.isClosed, 'the sequence ended')
    assert.deepEqual(sequence.emitted, plainTokens(promptOf(1), 66))
    assert.ok(
      [6, 3].every((size) => sizes.includes(size)),
      `trees of ${[...new Set(sizes)].join(', ')} nodes`,
    )
  })

  it('does not send a step of sequences that were moved elsewhere while it was drafted (N2)', async () => {
    const scheduler = start({
      proposer: {
        ...draftsOf(() => undefined),
        propose: () => {
          loop?.stop()
          return Promise.resolve({ proposals: [], waitedMs: 0 })
        },
      },
    })
    scheduler.enqueue(createTestSequence('s', promptOf(1)))
    loop?.kick()
    await new Promise(setImmediate)
    // Messages arrive in order: what the loop had sent would be handled before this one.
    const nothing = { step: 'probe', tableEpoch: 1, replicas: [], entries: [], release: [], withLogits: false }
    const message = { kind: 'attention.step', body: nothing, replyKind: 'attention.sampled' } as const
    await attention?.system.ask('attention', message, { timeoutMs: 5000 })
    assert.deepEqual(
      attention?.steps.map(({ step }) => step),
      ['probe'],
    )
  })

  it('keeps the order of arrival when a cancelled step is run again', async () => {
    let numSteps = 0
    const scheduler = start({
      faults: { afterStep: () => ((numSteps += 1) === 2 ? new ClusterError('cancelled', 'by the test') : undefined) },
    })
    const sequences = ['a', 'b', 'c'].map((id) => createTestSequence(id, promptOf(3), 3))
    for (const sequence of sequences) scheduler.enqueue(sequence)
    loop?.kick()
    await eventually(() => sequences.every(({ emitter }) => emitter.isClosed), 'every sequence ended')
    const starts = attention?.steps[2]?.entries.map(({ sequence }) => sequence)
    assert.deepEqual(starts, ['a', 'b', 'c'])
  })

  it('ends a sequence that is refused again and again with an error, and runs the others on', async () => {
    const scheduler = start({ faults: { refuse: ({ sequence }) => sequence === 'bad' } })
    const [bad, good] = [createTestSequence('bad', promptOf(4), 5), createTestSequence('good', promptOf(4), 5)]
    for (const sequence of [bad, good]) scheduler.enqueue(sequence)
    loop?.kick()
    await eventually(() => bad.emitter.isClosed && good.emitter.isClosed, 'both ended')
    assert.deepEqual([good.emitted, bad.emitted], [plainTokens(promptOf(4), 5), []])
    assert.ok(bad.failures[0] instanceof ClusterError)
  })

  it('learns what a step costs, from steps without a refused entry', async () => {
    const scheduler = start({ faults: { refuse: ({ sequence, epoch }) => sequence === 'bad' && epoch === 0 } })
    const [bad, good] = [createTestSequence('bad', promptOf(4), 5), createTestSequence('good', promptOf(4), 30)]
    for (const sequence of [bad, good]) scheduler.enqueue(sequence)
    loop?.kick()
    await eventually(() => bad.emitter.isClosed && good.emitter.isClosed, 'both ended')
    const numPure = (attention?.steps ?? []).filter(({ entries }) =>
      entries.every(({ sequence }) => sequence === 'good'),
    )
    assert.equal(cost.snapshot().fit.numObserved, numPure.filter(({ entries }) => entries.length > 0).length)
  })

  it('reports a worker that is gone, and fails nobody', async () => {
    let isLost = false
    const scheduler = start({
      onWorkerLost: () => {
        isLost = true
        loop?.stop()
      },
    })
    await attention?.stop()
    const sequence = createTestSequence('s', promptOf(4), 5)
    scheduler.enqueue(sequence)
    loop?.kick()
    await eventually(() => isLost, 'the loss is reported')
    assert.deepEqual(sequence.failures, [])
  })

  it('sends parents that come before their children, and rows within the budget (Z1)', async () => {
    const draw = createDraw(5)
    const scheduler = start({
      proposer: draftsOf((sequence, maxNodes) => draftTree(sequence, draw, maxNodes)),
    })
    const sequences = [5, 9, 1].map((length, i) => createTestSequence(`s${i}`, promptOf(length, i), 20))
    for (const sequence of sequences) scheduler.enqueue(sequence)
    loop?.kick()
    await eventually(() => sequences.every(({ emitter }) => emitter.isClosed), 'every sequence ended')
    const steps = (attention?.steps ?? []).map(({ entries }) =>
      entries.map(({ parents }) => readI32(parents, 'parents')),
    )
    assert.ok(
      steps.some((trees) => trees.some(([, first, second]) => first === 0 && second === 0)),
      'trees were sent',
    )
    for (const rows of steps) {
      assert.ok(rows.reduce((sum, { length }) => sum + length, 0) <= limits.tokenBudget)
      for (const parents of rows) parents.forEach((parent, node) => assert.ok(parent < node))
    }
  })
})

/** xorshift32: equal seeds, equal faults. */
function createDraw(seed: number): (below: number) => number {
  let state = seed | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
