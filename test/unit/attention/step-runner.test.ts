// R1 and R2 of the step runner, on a real checkpoint with real experts: what a retry, a gap, a cancel or a lost expert
// does to the sequences held.

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import type { MessageOf, StepEntry } from '../../../lib/wire/messages.js'
import { packI32, readF32, readI32 } from '../../../lib/wire/tensor.js'
import type { AttentionEngine } from '../../../lib/decode/attention-engine.js'
import { loadAttentionModel } from '../../../lib/decode/attention-model.js'
import { createCpuAttentionEngine } from '../../../lib/decode/cpu-attention-engine.js'
import { createExpertPeers } from '../../../services/attention/expert-peers.js'
import { createStepRunner, type StepRunner } from '../../../services/attention/step-runner.js'
import { goldenModel } from '../../helpers/paths.js'
import { startExpertWorkers, type ExpertWorkers } from './expert-workers.js'

const sampling = { ...NEUTRAL_SAMPLING, seed: '7', temperature: 1, logitBias: [], endTokenIds: [] }
const every = [0, 1, 2, 3, 4, 5, 6, 7]

interface EntryFields {
  readonly sequence?: string
  readonly epoch: number
  readonly base: number
  readonly accepted?: readonly number[]
  readonly tokens: readonly number[]
  readonly parents?: readonly number[]
}

const chainOf = (tokens: readonly number[]): number[] => tokens.map((_, node) => node - 1)
const upTo = (length: number): number[] => Array.from({ length }, (_, i) => i)

/** An entry that samples at every node; epoch 0 starts the sequence. */
function entry({
  sequence = 's',
  epoch,
  base,
  accepted = [],
  tokens,
  parents = chainOf(tokens),
}: EntryFields): StepEntry {
  return {
    sequence,
    epoch,
    base,
    accepted: packI32(accepted),
    tokens: packI32(tokens),
    parents: packI32(parents),
    sampled: packI32(upTo(tokens.length)),
    ...(epoch === 0 ? { start: { promptLength: tokens.length, choice: 0, sampling } } : {}),
  }
}

describe('step runner', () => {
  let checkpoint: Checkpoint
  let engine: AttentionEngine
  let experts: ExpertWorkers
  let runner: StepRunner
  let nowMs = 0
  const life = new AbortController() // the worker's own signal

  before(async () => {
    checkpoint = openCheckpoint(goldenModel('qwen3-moe'))
    const model = await loadAttentionModel(checkpoint, {
      format: 'f32',
      kernels: sharedKernels(1),
      weights: createWeightStore(undefined),
      turn: systemClock.turn,
    })
    engine = createCpuAttentionEngine(model)
    experts = await startExpertWorkers(checkpoint, { a: every })
  })
  beforeEach(() => {
    const neighbours = new Map<string, never>()
    runner = createStepRunner({
      engine,
      system: { ...experts.system, clock: { ...systemClock, monotonicMs: () => nowMs } },
      kvTokens: 64,
      peers: createExpertPeers(experts.system),
      neighbours,
      microBatches: 1,
    })
  })
  after(async () => {
    await experts.stop()
    engine.dispose()
    checkpoint.close()
  })

  const step = (
    entries: StepEntry[],
    { holder = 'a', release = [] }: { holder?: string; release?: string[] } = {},
  ): MessageOf<'attention.step'> => ({
    kind: 'attention.step',
    step: 'step',
    tableEpoch: 1,
    replicas: every.map(() => [holder]),
    entries,
    release,
    withLogits: false,
  })
  const run = (...args: Parameters<typeof step>) => runner.run(step(...args), { timeoutMs: 5000, signal: life.signal })
  const tokensOf = async (...args: Parameters<typeof step>): Promise<number[][]> =>
    (await run(...args)).entries.map(({ tokens }) => [...readI32(tokens, 'tokens')])
  /** Logits of all rows: [rows][vocab]. */
  const logitsOf = async (one: StepEntry): Promise<number[][]> => {
    const options = { timeoutMs: 5000, signal: life.signal }
    const { logits } = await runner.run({ ...step([one]), withLogits: true }, options)
    assert.ok(logits !== undefined)
    const [rows = 0, vocab = 0] = logits.shape
    const values = readF32(logits, 'logits')
    return Array.from({ length: rows }, (_, row) => [...values.subarray(row * vocab, (row + 1) * vocab)])
  }
  const errorsOf = async (...args: Parameters<typeof step>): Promise<(string | undefined)[]> =>
    (await run(...args)).entries.map(({ error }) => error?.code)

  const prompt = [5, 6, 7]

  it('repeats a step with the same tokens, and commits it once (S1)', async () => {
    await run([entry({ epoch: 0, base: 0, tokens: prompt })])
    const next = entry({ epoch: 1, base: 3, accepted: [0, 1, 2], tokens: [8, 9] })
    const first = await tokensOf([next])
    assert.deepEqual([await tokensOf([next]), runner.numTokens], [first, 3])
  })

  it('tells of single layers only where the step asks for them', async () => {
    const first = step([entry({ epoch: 0, base: 0, tokens: prompt })])
    const options = { timeoutMs: 5000, signal: life.signal }
    const plain = await runner.run(first, options)
    const asked = await runner.run({ ...first, wantsLayerTimes: true }, options)
    assert.equal(plain.layerTimes, undefined)
    assert.deepEqual(asked.layerTimes?.shape, [checkpoint.spec.layers.length, 4])
  })

  it('does not go on from a repeated step that failed half-way (S1)', async () => {
    const first = entry({ epoch: 0, base: 0, tokens: prompt })
    await run([first])
    await assert.rejects(run([first], { holder: 'nobody' }))
    const next = entry({ epoch: 1, base: 3, accepted: [0, 1, 2], tokens: [8] })
    assert.deepEqual(await errorsOf([next]), ['failed_precondition'])
    const start = { promptLength: 4, choice: 0, sampling, prefix: { sequence: 's', tokens: packI32([5, 6]) } }
    const sharer = { ...entry({ sequence: 'sharer', epoch: 0, base: 2, tokens: [3] }), start }
    assert.deepEqual(await errorsOf([sharer]), ['failed_precondition'])
  })

  it('lets what no step has named for a while make room (H2)', async () => {
    const long = Array.from({ length: 40 }, (_, i) => 3 + (i % 9))
    await run([entry({ sequence: 'forgotten', epoch: 0, base: 0, tokens: long })])
    const next = entry({ sequence: 'forgotten', epoch: 1, base: 40, accepted: upTo(40), tokens: [9] })
    await run([next]) // 40 tokens of 64 are held now
    const other = entry({ sequence: 'other', epoch: 0, base: 0, tokens: long })
    assert.deepEqual(await errorsOf([other]), ['resource_exhausted'])
    nowMs += 60_000
    assert.deepEqual(await errorsOf([other]), [undefined])
    assert.deepEqual(await errorsOf([next]), ['failed_precondition'])
  })

  it('gives a tree node the logits of plain decoding of its path (I1)', async () => {
    //  8 ── 9 ── 11
    //   └── 10 ── 12
    await run([entry({ epoch: 0, base: 0, tokens: prompt })])
    const tree = { tokens: [8, 9, 10, 11, 12], parents: [-1, 0, 0, 1, 2] }
    const drafted = await logitsOf(entry({ epoch: 1, base: 3, accepted: [0, 1, 2], ...tree }))
    for (const [path, nodes] of [
      [
        [8, 9, 11],
        [0, 1, 3],
      ],
      [
        [8, 10, 12],
        [0, 2, 4],
      ],
    ] as const) {
      await run([entry({ sequence: 'plain', epoch: 0, base: 0, tokens: prompt })])
      let accepted: readonly number[] = [0, 1, 2]
      const plain: (number[] | undefined)[] = []
      for (const [i, token] of path.entries()) {
        const one = entry({ sequence: 'plain', epoch: 1 + i, base: 3 + i, accepted, tokens: [token] })
        plain.push((await logitsOf(one))[0])
        accepted = [0]
      }
      assert.deepEqual(
        nodes.map((node) => drafted[node]),
        plain,
      )
    }
  })

  it('samples along the walk that its samples make, and nowhere else', async () => {
    await run([entry({ epoch: 0, base: 0, tokens: prompt })])
    const path = [8] // then what is sampled: a wrong sibling before every right node
    const next = (): StepEntry => {
      const tokens = path.flatMap((token, i) => (i === 0 ? [token] : [token + 1, token]))
      const parents = path.flatMap((_, i) => (i === 0 ? [-1] : [2 * i - 2, 2 * i - 2]))
      return entry({ epoch: 1, base: 3, accepted: [0, 1, 2], tokens, parents })
    }
    for (let depth = 0; depth < 3; depth++) path.push((await tokensOf([next()]))[0]?.[2 * depth] ?? -1)
    const [samples = []] = await tokensOf([next()])
    const wanted = path.slice(1).flatMap((token, i) => (i === 0 ? [token] : [-1, token]))
    assert.deepEqual(samples.slice(0, -2), wanted)
    assert.equal(samples.at(-2), -1)
    assert.ok((samples.at(-1) ?? -1) >= 0)
  })

  it('a sequence that takes over a prefix gets the logits of one that computed it (I1)', async () => {
    const long = Array.from({ length: 20 }, (_, i) => 3 + (i % 9))
    const rest = [4, 5]
    await run([entry({ sequence: 'source', epoch: 0, base: 0, tokens: long })])
    const plain = await logitsOf(
      entry({ sequence: 'plain', epoch: 0, base: 0, tokens: [...long.slice(0, 16), ...rest] }),
    )
    const first = entry({ sequence: 'sharer', epoch: 0, base: 16, tokens: rest })
    const prefix = { sequence: 'source', tokens: packI32(long.slice(0, 16)) }
    const start = { promptLength: 18, choice: 0, sampling, prefix }
    assert.deepEqual(await logitsOf({ ...first, start }), plain.slice(-2))
    const goesOn = entry({ sequence: 'source', epoch: 1, base: 20, accepted: long.map((_, i) => i), tokens: [9] })
    const before = await tokensOf([goesOn]) // the source writes into a page that it shares: a copy of its own (KV4)
    await run([], { release: ['sharer'] })
    assert.deepEqual(await tokensOf([goesOn]), before)
  })

  it('refuses a prefix that it does not hold', async () => {
    await run([entry({ sequence: 'source', epoch: 0, base: 0, tokens: prompt })])
    for (const [sequence, tokens] of [
      ['nobody', prompt.slice(0, 2)],
      ['source', [5, 9]],
      ['source', [...prompt, 1]],
    ] as const) {
      const start = { promptLength: 4, choice: 0, sampling, prefix: { sequence, tokens: packI32(tokens) } }
      const first = { ...entry({ sequence: 'sharer', epoch: 0, base: tokens.length, tokens: [3] }), start }
      assert.deepEqual(await errorsOf([first]), ['failed_precondition'])
    }
  })

  it('lets a bad entry fail alone (R2)', async () => {
    const good = entry({ sequence: 'good', epoch: 0, base: 0, tokens: prompt })
    const unknown = entry({ sequence: 'unknown', epoch: 4, base: 9, tokens: [1] })
    const broken = entry({ sequence: 'broken', epoch: 0, base: 0, tokens: [1, 2], parents: [-1, 5] })
    assert.deepEqual(await errorsOf([unknown, good, broken]), ['failed_precondition', undefined, 'invalid_argument'])
  })

  it('takes the right tree after a bad one of the same epoch: nothing was committed by it (S1)', async () => {
    await run([entry({ epoch: 0, base: 0, tokens: prompt })])
    const fields = { epoch: 1, base: 3, accepted: [0, 1, 2], tokens: [8] }
    assert.deepEqual(await errorsOf([entry({ ...fields, parents: [3] })]), ['invalid_argument'])
    assert.deepEqual(await errorsOf([entry(fields)]), [undefined])
  })

  it('refuses rows beyond its KV cache, and has room again after a release', async () => {
    await run([entry({ epoch: 0, base: 0, tokens: upTo(40) })])
    const commit = entry({ epoch: 1, base: 40, accepted: upTo(40), tokens: [1] })
    const late = entry({ sequence: 'late', epoch: 0, base: 0, tokens: upTo(30) })
    assert.deepEqual(await errorsOf([commit, late]), [undefined, 'resource_exhausted'])
    assert.deepEqual(await errorsOf([late], { release: ['s'] }), [undefined])
  })

  it('a step without experts fails and changes nothing: its retry gives the same tokens (R1)', async () => {
    const start = entry({ epoch: 0, base: 0, tokens: prompt })
    const next = entry({ epoch: 1, base: 3, accepted: [0, 1, 2], tokens: [8] })
    await run([start])
    const wanted = await tokensOf([next])
    await run([start])
    await assert.rejects(
      run([next], { holder: 'nobody' }),
      (error) => error instanceof ClusterError && error.details.reason === 'EXPERT_UNAVAILABLE',
    )
    assert.deepEqual(await tokensOf([next]), wanted)
  })

  it('a cancel ends a step that nobody waits for any more, and forgets its sequences', async () => {
    const running = run([entry({ epoch: 0, base: 0, tokens: prompt })])
    const cancelled = runner.cancel(['s'])
    await assert.rejects(running, (error) => error instanceof ClusterError && error.code === 'cancelled')
    assert.deepEqual([cancelled?.step, runner.numSequences], ['step', 0])
  })

  it('a cancel lets the step run on for the others', async () => {
    const other = entry({ sequence: 'other', epoch: 0, base: 0, tokens: prompt })
    const [wanted] = await tokensOf([other])
    const running = tokensOf([entry({ epoch: 0, base: 0, tokens: prompt }), other])
    assert.equal(runner.cancel(['s']), undefined)
    assert.deepEqual((await running)[1], wanted)
  })

  it('forgets the sequences of a router that is gone, and no others', async () => {
    const own = (incarnation: string) => ({ router: 'router', incarnation })
    const open = (sequence: string) => step([entry({ sequence, epoch: 0, base: 0, tokens: prompt })])
    const options = { timeoutMs: 5000, signal: life.signal }
    await runner.run({ ...open('a'), owner: own('first') }, options)
    await runner.run({ ...open('b'), owner: own('second') }, options)
    await runner.run({ ...open('a'), owner: own('second') }, options) // taken over
    await runner.run({ ...open('c'), owner: own('first') }, options)
    await run([entry({ sequence: 'd', epoch: 0, base: 0, tokens: prompt })])
    assert.equal(runner.disown('first'), undefined)
    assert.equal(runner.numSequences, 3)
    runner.disown('second')
    assert.equal(runner.numSequences, 1)
  })

  it('ends the running step of a router that is gone', async () => {
    const first = { ...step([entry({ epoch: 0, base: 0, tokens: prompt })]), owner: { router: 'r', incarnation: 'i' } }
    const running = runner.run(first, { timeoutMs: 5000, signal: life.signal })
    assert.equal(runner.disown('i')?.step, 'step')
    await assert.rejects(running, { code: 'cancelled' })
  })

  it('leaves nothing behind on the worker’s own signal', async () => {
    await run([entry({ epoch: 0, base: 0, tokens: prompt })])
    assert.deepEqual(getEventListeners(life.signal, 'abort'), [])
  })
})
