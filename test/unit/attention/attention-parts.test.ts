import assert from 'node:assert/strict'
import { PAGE_SLOTS } from '../../../lib/compute/attention-core.js'
import { ClusterError } from '../../../lib/errors.js'
import { packI32 } from '../../../lib/wire/tensor.js'
import type { FfnLayerSpec } from '../../../lib/model/spec.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import type { StepEntry } from '../../../lib/wire/messages.js'
import { route } from '../../../services/attention/gate.js'
import { KvCache } from '../../../services/attention/kv-cache.js'
import { advance, openSequence, pathTokens, rowBlocks } from '../../../services/attention/sequence-state.js'

const linear = { weight: { name: 'w', shape: [1, 1] } }
const ffn = { intermediate: 1, gate: linear, up: linear, down: linear }

function layer(options: {
  topK: number
  softmaxOver: 'all' | 'chosen'
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
      layer({ topK: 2, softmaxOver: 'chosen', renormalise: false }),
      1,
      Float32Array.of(1, 2, 2, 2),
    )
    assert.deepEqual([...experts], [1, 2])
  })

  it('weighs over all experts, or over the chosen', () => {
    const logits = Float32Array.of(Math.log(1), Math.log(2), Math.log(4), Math.log(1))
    close(route(layer({ topK: 2, softmaxOver: 'all', renormalise: false }), 1, logits).weights, [2 / 8, 4 / 8])
    close(route(layer({ topK: 2, softmaxOver: 'all', renormalise: true }), 1, logits).weights, [2 / 6, 4 / 6])
    close(route(layer({ topK: 2, softmaxOver: 'chosen', renormalise: false }), 1, logits).weights, [2 / 6, 4 / 6])
  })

  it('adds the shared expert behind its sigmoid', () => {
    const { experts, weights } = route(
      layer({ topK: 1, softmaxOver: 'all', renormalise: true, shared: true }),
      1,
      Float32Array.of(0, 5, 0, 0, Math.log(3)),
    )
    assert.deepEqual([...experts], [1, 4])
    close(weights, [1, 0.75])
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

describe('KvCache', () => {
  const write = (cache: KvCache, slots: number[], values: number[]): void => {
    cache.reserve(Math.max(...slots) + 1)
    cache.write(0, Int32Array.from(slots), { k: Float32Array.from(values), v: Float32Array.from(values), firstRow: 0 })
  }

  it('moves the accepted rows down in order, and marks value rows with a one (KV1, KV2)', () => {
    const cache = new KvCache({ numLayers: 1, numKvHeads: 1, headDim: 1 })
    write(cache, [0, 1], [10, 11])
    cache.commit([0, 1])
    write(cache, [2, 3, 4, 5], [20, 21, 22, 23])
    cache.commit([2, 4, 5])
    assert.equal(cache.length, 5)
    const [page] = cache.layerPages(0, 1)
    assert.deepEqual([...(page?.keys ?? [])].slice(0, 5), [10, 11, 20, 22, 23])
    assert.deepEqual([...(page?.values ?? [])].slice(0, 10), [10, 1, 11, 1, 20, 1, 22, 1, 23, 1])
  })
})

describe('sequence state', () => {
  const sampling = { ...NEUTRAL_SAMPLING, logitBias: [], endTokenIds: [], seed: '1' }
  const limits = { vocabSize: 100, maxPositions: 64 }
  const open = () =>
    openSequence({ promptLength: 2, choice: 0, sampling }, { numLayers: 1, numKvHeads: 1, headDim: 2 }, new Map())

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
    for (let retry = 0; retry < 3; retry++)
      advance(state, entry({ epoch: 1, base: 2, accepted: [0, 1], tokens: [7] }), limits)
    assert.deepEqual([state.tokens, state.cache.length, state.epoch], [[5, 6], 2, 1])
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
    advance(state, entry({ epoch: 1, base: 2, accepted: [0, 1], tokens: [7, 8, 9, 1], parents: [-1, 0, 0, 1] }), limits)
    const [block] = rowBlocks(state)
    const mask = block?.mask ?? assert.fail()
    const slots = PAGE_SLOTS
    const seen = (node: number): number[] =>
      Array.from({ length: slots }, (_, slot) => slot).filter((slot) => mask[node * slots + slot] === 0)
    assert.deepEqual([0, 1, 2, 3].map(seen), [
      [0, 1, 2],
      [0, 1, 2, 3],
      [0, 1, 2, 4],
      [0, 1, 2, 3, 5],
    ])
    assert.deepEqual(pathTokens(state, 3), [5, 6, 7, 8, 1])
  })
})
