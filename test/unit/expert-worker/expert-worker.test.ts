// X1 and X2 of an expert call, what it refuses, and that placing shards never breaks a call under way.

import assert from 'node:assert/strict'
import { trace } from '@opentelemetry/api'
import { systemClock } from '../../../lib/actor/clock.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import type { MessageOf } from '../../../lib/wire/messages.js'
import { packF32, packI32, packQ16, readF32 } from '../../../lib/wire/tensor.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import { answerCompute } from '../../../services/expert-worker/compute.js'
import { expertActors } from '../../../services/expert-worker/expert-actor.js'
import { createWants } from '../../../services/expert-worker/wants.js'
import { createExpertStore, type ExpertStore } from '../../../lib/decode/expert-store.js'
import { eventually } from '../../helpers/eventually.js'
import { goldenModel } from '../../helpers/paths.js'

const tracer = trace.getTracer('test')

interface Call {
  readonly expert: number
  readonly rows: readonly number[]
  readonly weights: readonly number[]
}

describe('expert worker', () => {
  const layer = 0
  let checkpoint: Checkpoint
  let store: ExpertStore

  before(() => {
    checkpoint = openCheckpoint(goldenModel('mixtral'))
  })
  beforeEach(async () => {
    store = createExpertStore({
      checkpoint,
      format: 'f32',
      kernels: sharedKernels(1),
      weights: createWeightStore(undefined),
      turn: systemClock.turn,
    })
    await store.place(Array.from({ length: store.plan.numShards }, (_, shard) => shard))
  })
  afterEach(() => store.dispose())
  after(() => checkpoint.close())

  function message(calls: readonly Call[], numRows = 4): MessageOf<'expert.compute'> {
    return {
      kind: 'expert.compute',
      step: 'step',
      layer,
      hidden: packF32(probeValues(numRows * store.hidden, 5, 2), [numRows, store.hidden]),
      experts: packI32(calls.map(({ expert }) => expert)),
      counts: packI32(calls.map(({ rows }) => rows.length)),
      rows: packI32(calls.flatMap(({ rows }) => rows)),
      weights: packF32(Float32Array.from(calls.flatMap(({ weights }) => weights))),
    }
  }
  const compute = (request: MessageOf<'expert.compute'>): Float32Array =>
    readF32(answerCompute(store, request), 'partials')
  const isCode = (code: string, words: RegExp) => (error: unknown) =>
    error instanceof ClusterError && error.code === code && words.test(error.message)

  const calls: readonly Call[] = [
    { expert: 0, rows: [0, 2], weights: [0.25, 1] },
    { expert: 1, rows: [1, 2, 3], weights: [0.5, 0.75, 2] },
  ]

  it('answers the weighted rows of every shard, shards and rows ascending', async () => {
    const y = compute(message(calls))
    const [zero, one] = [compute(message(calls.slice(0, 1))), compute(message(calls.slice(1)))]
    assert.notEqual(store.plan.shardOf(layer, 0), store.plan.shardOf(layer, 1))
    assert.deepEqual(y, Float32Array.of(...zero, ...one))
  })

  it('does not depend on the order of the calls in the message (X1, X2)', async () => {
    assert.deepEqual(compute(message([...calls].reverse())), compute(message(calls)))
  })

  it('gives a row the same bits alone and in company (I1)', async () => {
    const company = compute(message(calls.slice(1)))
    const alone = compute(message([{ expert: 1, rows: [2], weights: [0.75] }]))
    assert.deepEqual(alone, company.subarray(store.hidden, 2 * store.hidden))
  })

  it('reads rows rounded as it would round them itself, and only in that form (int8)', async () => {
    const kernels = sharedKernels(1)
    const small = createExpertStore({
      checkpoint,
      format: 'int8',
      kernels,
      weights: createWeightStore(undefined),
      turn: systemClock.turn,
    })
    try {
      await small.place([0, 1, 2, 3])
      const floats = message(calls)
      const width = small.hidden
      const y = readF32(answerCompute(small, floats), 'partials')
      const rounded = { ...floats, hidden: packQ16(round(readF32(floats.hidden, 'hidden'), width), 4, width) }
      assert.deepEqual(readF32(answerCompute(small, rounded), 'partials'), y)
      for (const [hidden, words] of [
        [packQ16(new Uint8Array(8), 4, width), /hidden: want \d+ bytes for 4 rows, got 8/],
        [packQ16(new Uint8Array(8), 4, width + 1), /hidden: want q16 \[rows, \d+\], got q16 \[4, \d+\]/],
      ] as const) {
        assert.throws(() => answerCompute(small, { ...floats, hidden }), isCode('invalid_argument', words))
      }
      assert.throws(() => compute(rounded), isCode('invalid_argument', /hidden: want f32, the weights are f32 here/))
    } finally {
      await small.dispose()
    }
  })

  /** What the protocol says of a `q16` row, in plain numbers. */
  function round(x: Float32Array, width: number): Uint8Array {
    const numBlocks = width / 32
    const bytes = new Uint8Array((x.length / width) * numBlocks * 72)
    const view = new DataView(bytes.buffer)
    x.forEach((value, i) => {
      const [row, block] = [Math.floor(i / width), Math.floor((i % width) / 32)]
      const first = row * width + block * 32
      const peak = Math.max(...x.subarray(first, first + 32).map(Math.abs))
      const scaled = Math.fround(value * (peak === 0 ? 0 : Math.fround(32767 / peak)))
      const whole = scaled - Math.floor(scaled) === 0.5 ? 2 * Math.round(scaled / 2) : Math.round(scaled)
      const from = row * numBlocks * 72
      view.setInt16(from + (i % width) * 2, whole, true)
      view.setFloat32(from + numBlocks * 64 + block * 4, peak / 32767, true)
      const offsetAt = from + numBlocks * 68 + block * 4
      view.setInt32(offsetAt, view.getInt32(offsetAt, true) - 8 * whole, true)
    })
    return bytes
  }

  const bad: readonly [string, () => MessageOf<'expert.compute'>, RegExp][] = [
    ['a count too few', () => ({ ...message(calls), counts: packI32([2]) }), /1 counts for 2 experts/],
    ['a row outside hidden', () => message([{ expert: 0, rows: [4], weights: [1] }]), /rows: want 0 … 3/],
    ['weights that do not match', () => ({ ...message(calls), weights: packF32(new Float32Array(2)) }), /2 weights/],
    [
      'hidden of another width',
      () => ({ ...message(calls), hidden: packF32(new Float32Array(7)) }),
      /hidden: want rows/,
    ],
  ]
  for (const [title, request, words] of bad) {
    it(`refuses ${title}`, () => assert.throws(() => compute(request()), isCode('invalid_argument', words)))
  }

  it('tells of a lost device, whoever asked hears of it as well; of other failures only who asked', async () => {
    const failures: ClusterError[] = []
    const lost = new ClusterError('unavailable', 'device webgpu is lost', { details: { reason: 'DEVICE_LOST' } })
    for (const error of [new ClusterError('internal', 'bad'), lost]) {
      const transport = createLocalTransport({ hub: createLocalHub() })
      const system = createActorSystem({ transport, clock: systemClock, random: () => 0, cluster: 'test', node: 'a' })
      const failing = { ...store, shards: [], compute: () => assert.fail(error) }
      const wants = createWants(failing, () => undefined)
      const options = { address: 'a', store: failing, wants, fingerprint: '', tracer, clock: systemClock, load: {} }
      for (const actor of expertActors({ ...options, onDeviceLost: (one) => failures.push(one) })) system.spawn(actor)
      const { kind, ...body } = message(calls)
      const asked = system.ask('a', { kind, body, replyKind: 'expert.output' }, { timeoutMs: 5_000 })
      await assert.rejects(asked, isCode(error.code, new RegExp(error.message)))
      await system.stop()
      await transport.close()
    }
    assert.deepEqual(failures, [lost])
  })

  it('refuses an expert whose shard is not loaded, naming layer, expert and shard', async () => {
    await store.place([0])
    assert.throws(() => compute(message(calls)), isCode('failed_precondition', /layer 0: shard \d is not loaded/))
  })

  it('loads what is missing, drops what is not wanted, and repeats without effect', async () => {
    for (const shards of [[1, 3], [3, 1], [3]]) {
      await store.place(shards)
      assert.deepEqual(store.shards, [...shards].sort())
    }
  })

  it('places one after the other: the last one wins whatever it had to load', async () => {
    await Promise.all([store.place([1]), store.place([0, 2]), store.place([2])])
    assert.deepEqual(store.shards, [2])
  })

  it('drops what only a router wanted that is gone, once another one has said what it wants', async () => {
    const wants = createWants(store, () => undefined)
    await wants.set('a', [0, 1])
    await wants.set('b', [1, 2])
    wants.forget('a')
    await eventually(() => store.shards.join() === '1,2', 'what only a wanted is dropped')
    wants.forget('b')
    assert.deepEqual(store.shards, [1, 2])
    await wants.set('c', [2])
    assert.deepEqual(store.shards, [2])
  })
})
