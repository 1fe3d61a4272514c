import assert from 'node:assert/strict'
import { PAGE_SLOTS } from '../../../lib/compute/kv-layout.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { ClusterError } from '../../../lib/errors.js'
import { packI32 } from '../../../lib/wire/tensor.js'
import type { FfnLayerSpec, GateSpec } from '../../../lib/model/spec.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import type { StepEntry } from '../../../lib/wire/messages.js'
import { route } from '../../../lib/decode/gate.js'
import { KvCache } from '../../../lib/decode/kv-cache.js'
import { advance, attentionSpan, createPaths, openSequence } from '../../../services/attention/sequence-state.js'

const linear = { weight: { name: 'w', shape: [1, 1] } }
const ffn = { intermediate: 1, gate: linear, up: linear, down: linear }

function layer(options: {
  topK: number
  scores: GateSpec['scores']
  renormalise: boolean
  shared?: boolean
}): FfnLayerSpec {
  const { shared, ...gate } = options
  return {
    experts: [ffn, ffn, ffn, ffn],
    gate: { weight: linear.weight, ...gate },
    ...(shared === true ? { always: { ffn, sigmoidGate: linear.weight } } : {}),
  }
}

describe('route', () => {
  const close = (actual: ArrayLike<number>, wanted: readonly number[]): void =>
    wanted.forEach((value, i) => assert.ok(Math.abs(Number(actual[i]) - value) < 1e-6, `${i}: ${actual[i] ?? ''}`))

  it('gives ties to the lower id (G1)', () => {
    const { experts } = route(
      layer({ topK: 2, scores: 'softmax-of-chosen', renormalise: false }),
      1,
      Float32Array.of(1, 2, 2, 2),
    )
    assert.deepEqual([...experts], [1, 2])
  })

  it('weighs over all experts, or over the chosen', () => {
    const logits = Float32Array.of(Math.log(1), Math.log(2), Math.log(4), Math.log(1))
    close(route(layer({ topK: 2, scores: 'softmax', renormalise: false }), 1, logits).weights, [2 / 8, 4 / 8])
    close(route(layer({ topK: 2, scores: 'softmax', renormalise: true }), 1, logits).weights, [2 / 6, 4 / 6])
    close(route(layer({ topK: 2, scores: 'softmax-of-chosen', renormalise: false }), 1, logits).weights, [2 / 6, 4 / 6])
  })

  it('adds the shared expert behind its sigmoid', () => {
    const { experts, weights } = route(
      layer({ topK: 1, scores: 'softmax', renormalise: true, shared: true }),
      1,
      Float32Array.of(0, 5, 0, 0, Math.log(3)),
    )
    assert.deepEqual([...experts], [1, 4])
    close(weights, [1, 0.75])
  })

  /** Logits whose sigmoids are the scores. */
  const logitsOf = (...scores: number[]): Float32Array => Float32Array.from(scores, (p) => Math.log(p / (1 - p)))
  const sigmoidGate = (gate: Partial<GateSpec>): FfnLayerSpec => ({
    experts: Array.from({ length: 6 }, () => ffn),
    gate: { weight: linear.weight, topK: 2, scores: 'sigmoid', renormalise: false, ...gate },
  })

  it('weighs by sigmoids, which a correction changes for the choice alone', () => {
    const logits = logitsOf(0.5, 0.9, 0.8, 0.1, 0.2, 0.3)
    const correction = Float32Array.of(0.5, -0.8, 0, 0, 0, 0)
    const { experts, weights } = route(sigmoidGate({}), 1, logits, { correction })
    assert.deepEqual([...experts], [0, 2])
    close(weights, [0.5, 0.8])
    close(route(sigmoidGate({ renormalise: true, scale: 2.5 }), 1, logits).weights, [
      (0.9 / 1.7) * 2.5,
      (0.8 / 1.7) * 2.5,
    ])
  })

  it('chooses experts of the groups whose two best are best together, ties to the lower group', () => {
    const groups = { count: 3, chosen: 1 }
    const of = (logits: Float32Array, correction?: Float32Array) => [
      ...route(sigmoidGate({ groups }), 1, logits, { correction }).experts,
    ]
    assert.deepEqual(of(logitsOf(0.9, 0.1, 0.6, 0.6, 0.5, 0.5)), [2, 3]) // the best expert is in another group
    assert.deepEqual(of(logitsOf(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)), [0, 1])
    assert.deepEqual(of(logitsOf(0.9, 0.1, 0.6, 0.6, 0.5, 0.5), Float32Array.of(0, 0, 0, 0, 0.2, 0.2)), [4, 5])
  })

  it('sends every row of a dense layer to its one FFN', () => {
    const { experts, weights } = route({ experts: [], always: { ffn } }, 3, undefined)
    assert.deepEqual(
      [[...experts], [...weights]],
      [
        [0, 0, 0],
        [1, 1, 1],
      ],
    )
  })
})

const pool = {
  format: 'f32' as const,
  kernels: sharedKernels(1),
  layers: [
    { numKvHeads: 2, headDim: 8, valueDim: 8 },
    { numKvHeads: 1, headDim: 12, valueDim: 6 },
  ],
}

describe('KvCache', () => {
  const pageFloats = (2 * 16 + 18) * PAGE_SLOTS

  it('moves and copies rows of float16 as it does those of float32 (KV2, KV4)', () => {
    const halves = { ...pool, format: 'f16' as const }
    const numbers = (cache: KvCache): Uint16Array => {
      const { buffer } = pool.kernels.bytes(cache.addresses[0] ?? 0, 1)
      return new Uint16Array(buffer, cache.addresses[0], pageFloats)
    }
    const cache = new KvCache(halves)
    cache.reserve(4)
    cache.own([0, 1, 2, 3])
    for (const slot of [0, 1, 2, 3]) for (const place of places(slot)) numbers(cache)[place] = 1000 * slot + place
    cache.commit([0, 2])
    const other = cache.fork(2)
    other.own([1])
    assert.notDeepEqual(other.addresses, cache.addresses)
    for (const [slot, from] of [0, 2].entries()) {
      const wanted = places(from).map((place) => 1000 * from + place)
      for (const one of [cache, other]) {
        assert.deepEqual(
          places(slot).map((place) => numbers(one)[place]),
          wanted,
        )
      }
    }
    cache.release()
    other.release()
  })

  /** What a slot holds: one key and one value column of every layer and head. */
  const floats = (cache: KvCache): Float32Array => pool.kernels.floats(cache.addresses[0] ?? 0, pageFloats)
  const places = (slot: number): number[] => {
    const found: number[] = []
    let at = 0
    for (const { numKvHeads, headDim, valueDim } of pool.layers) {
      for (let head = 0; head < numKvHeads; head++, at += headDim * PAGE_SLOTS) {
        for (let i = 0; i < headDim; i++) found.push(at + ((slot >> 3) * headDim + i) * 8 + (slot & 7))
      }
      for (let head = 0; head < numKvHeads; head++, at += valueDim * PAGE_SLOTS) {
        for (let i = 0; i < valueDim; i++) found.push(at + slot * valueDim + i)
      }
    }
    return found
  }
  const write = (cache: KvCache, slots: number[], values: number[]): void => {
    cache.reserve(Math.max(...slots) + 1)
    cache.own(slots)
    slots.forEach((slot, i) => places(slot).forEach((place, part) => (floats(cache)[place] = values[i]! + part / 1000)))
  }
  const read = (cache: KvCache, slot: number): number[] => places(slot).map((place) => floats(cache)[place]!)
  const wanted = (value: number): number[] => places(0).map((_, part) => Math.fround(value + part / 1000))

  it('moves the accepted rows down in order, in layers of every width (KV1, KV2)', () => {
    const cache = new KvCache(pool)
    write(cache, [0, 1], [10, 11])
    cache.commit([0, 1])
    write(cache, [2, 3, 4, 5], [20, 21, 22, 23])
    cache.commit([2, 4, 5])
    assert.equal(cache.length, 5)
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((slot) => read(cache, slot)),
      [10, 11, 20, 22, 23].map(wanted),
    )
    cache.release()
  })

  it('gives fresh pages as zeros, whatever the memory held before (KV3)', () => {
    const first = new KvCache(pool)
    write(first, [0], [NaN])
    first.release()
    const second = new KvCache(pool)
    second.reserve(1)
    assert.ok(floats(second).every((value) => value === 0))
    second.release()
  })

  it('copies a shared page when one owner writes to it, and gives it back once (KV4)', () => {
    const used = pool.kernels.usedBytes
    const first = new KvCache(pool)
    write(first, [0, 1], [10, 11])
    first.commit([0, 1])
    const second = first.fork(2)
    assert.deepEqual(second.addresses, first.addresses)
    write(second, [2], [30])
    assert.deepEqual([read(first, 2), read(second, 1), read(second, 2)], [wanted(0).fill(0), wanted(11), wanted(30)])
    first.release()
    second.release()
    assert.equal(pool.kernels.usedBytes, used)
  })
})

describe('sequence state', () => {
  const sampling = { ...NEUTRAL_SAMPLING, logitBias: [], endTokenIds: [], seed: '1' }
  const limits = { vocabSize: 100, maxPositions: 64 }
  const open = () =>
    openSequence({ promptLength: 2, choice: 0, sampling }, { openCache: () => new KvCache(pool) }, new Map())

  const entry = (fields: {
    epoch: number
    base: number
    accepted?: number[]
    tokens: number[]
    parents?: number[]
  }): StepEntry => ({
    sequence: 's',
    epoch: fields.epoch,
    base: fields.base,
    accepted: packI32(fields.accepted ?? []),
    tokens: packI32(fields.tokens),
    parents: packI32(fields.parents ?? fields.tokens.map((_, i) => i - 1)),
    sampled: packI32([]),
  })
  const isCode = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof ClusterError && error.code === code && message.test(error.message)

  it('commits an epoch once, however often it is repeated (S1)', () => {
    const state = open()
    advance(state, entry({ epoch: 0, base: 0, tokens: [5, 6] }), limits)
    state.isTailComputed = true
    for (let retry = 0; retry < 3; retry++)
      advance(state, entry({ epoch: 1, base: 2, accepted: [0, 1], tokens: [7] }), limits)
    assert.deepEqual([[...state.tokens.withRoom(0)], state.cache.length, state.epoch], [[5, 6], 2, 1])
  })

  it('refuses a gap and a wrong base', () => {
    const state = open()
    advance(state, entry({ epoch: 0, base: 0, tokens: [5, 6] }), limits)
    assert.throws(
      () => advance(state, entry({ epoch: 2, base: 2, tokens: [7] }), limits),
      isCode('failed_precondition', /want epoch 0 or 1, got 2/),
    )
    assert.throws(
      () => advance(state, entry({ epoch: 0, base: 3, tokens: [7] }), limits),
      isCode('failed_precondition', /want base 0, got 3/),
    )
  })

  const bad: readonly [string, { tokens: number[]; parents?: number[] }, RegExp][] = [
    ['no rows', { tokens: [] }, /at least one row/],
    ['a token outside the vocabulary', { tokens: [100] }, /token 100: want 0 … 99/],
    ['a parent after its child', { tokens: [1, 2], parents: [-1, 1] }, /parent of node 1: got 1/],
    ['a position beyond the context', { tokens: Array<number>(65).fill(1) }, /position 64: the context ends at 64/],
  ]
  for (const [title, rows, message] of bad) {
    it(`refuses ${title}`, () =>
      assert.throws(
        () => advance(open(), entry({ epoch: 0, base: 0, ...rows }), limits),
        isCode('invalid_argument', message),
      ))
  }

  //      5,6 committed, then the tree  0:7 ── 1:8 ── 3:1
  //                                       └── 2:9
  it('lets a node see what is committed and its own path, nothing else', () => {
    const state = open()
    advance(state, entry({ epoch: 0, base: 0, tokens: [5, 6] }), limits)
    state.isTailComputed = true
    advance(state, entry({ epoch: 1, base: 2, accepted: [0, 1], tokens: [7, 8, 9, 1], parents: [-1, 0, 0, 1] }), limits)
    const { views } = attentionSpan(state)
    const seen = (node: number): number[] => {
      const { prefix, more } = views[node] ?? assert.fail()
      return [...Array(prefix).keys(), ...more]
    }
    assert.deepEqual([0, 1, 2, 3].map(seen), [
      [0, 1, 2],
      [0, 1, 2, 3],
      [0, 1, 2, 4],
      [0, 1, 2, 3, 5],
    ])
    assert.deepEqual([...createPaths(state)(3)], [5, 6, 7, 8, 1])
  })
})
