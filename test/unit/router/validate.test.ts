// Every range of a request, and a refusal that names its field.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import type { GenerateInput, SamplingInput } from '../../../services/router/engine.js'
import { validate, type ModelLimits, type ValidRequest } from '../../../services/router/validate.js'

const limits: ModelLimits = {
  vocabSize: 50,
  maxPositions: 32,
  kvTokens: 1000,
  eosTokenIds: [49, 2],
  defaults: { temperature: 0.7, topP: 0.9, topK: 5, minP: 0.1, repetitionPenalty: 1.1, eosTokenIds: [] },
}

const check = (
  sampling: SamplingInput = {},
  rest: Partial<GenerateInput> = {},
  model: Partial<ModelLimits> = {},
): ValidRequest => {
  const prompt = rest.prompt?.kind === 'tokens' ? rest.prompt.tokens : [1, 2, 3]
  const input = { prompt: { kind: 'tokens', tokens: prompt }, ...rest, sampling } as const
  return validate(input, prompt, { ...limits, ...model }, () => 77n)
}

describe('validate', () => {
  it('fills absent fields from the checkpoint, the rest from neutral values', () => {
    assert.deepEqual(check(), {
      prompt: [1, 2, 3],
      n: 1,
      maxTokens: 29,
      stop: [],
      includeStop: false,
      drafts: true,
      returnsTrees: false,
      priority: 'normal',
      sampling: {
        temperature: 0.7,
        topP: 0.9,
        topK: 5,
        minP: 0.1,
        repetitionPenalty: 1.1,
        presencePenalty: 0,
        frequencyPenalty: 0,
        logitBias: [],
        minTokens: 0,
        endTokenIds: [2, 49],
        seed: 77n,
        logprobs: -1,
      },
    })
  })

  it('ends at stop ids and, unless they are ignored, at the model’s own', () => {
    assert.deepEqual(check({ stopTokenIds: [9, 2] }).sampling.endTokenIds, [2, 9, 49])
    assert.deepEqual(check({ stopTokenIds: [9], ignoreEos: true }).sampling.endTokenIds, [9])
  })

  it('takes the usual number of tokens where none is asked for, as far as there is room', () => {
    assert.deepEqual(
      [16, 29, 30, undefined].map((usualTokens) => check({}, { usualTokens }).maxTokens),
      [16, 29, 29, 29],
    )
    assert.equal(check({ maxTokens: 20 }, { usualTokens: 16 }).maxTokens, 20)
  })

  it('takes n 0 as one and top-k -1 as off', () => {
    assert.deepEqual([check({}, { n: 0 }).n, check({ topK: -1 }).sampling.topK], [1, 0])
  })

  const accepted: readonly SamplingInput[] = [
    { temperature: 0 },
    { temperature: 100 },
    { topP: 1 },
    { minP: 0 },
    { minP: 1 },
    { repetitionPenalty: 100 },
    { presencePenalty: -2, frequencyPenalty: 2 },
    { maxTokens: 29, minTokens: 29 },
    { seed: 2n ** 64n - 1n },
    { logitBias: new Map([[49, -100]]) },
    { stop: ['x'.repeat(512)] },
  ]
  for (const sampling of accepted) {
    it(`accepts the bound ${describeFields(sampling)}`, () => void check(sampling))
  }

  const refused: readonly [field: string, sampling: SamplingInput][] = [
    ['temperature', { temperature: -0.1 }],
    ['temperature', { temperature: 100.1 }],
    ['temperature', { temperature: Number.NaN }],
    ['top_p', { topP: 0 }],
    ['top_p', { topP: 1.01 }],
    ['top_k', { topK: 1.5 }],
    ['top_k', { topK: -2 }],
    ['min_p', { minP: -0.1 }],
    ['min_p', { minP: 1.1 }],
    ['repetition_penalty', { repetitionPenalty: 0 }],
    ['presence_penalty', { presencePenalty: 2.1 }],
    ['frequency_penalty', { frequencyPenalty: -2.1 }],
    ['max_tokens', { maxTokens: 0 }],
    ['max_tokens', { maxTokens: 30 }],
    ['max_tokens', { maxTokens: Number.POSITIVE_INFINITY }],
    ['min_tokens', { maxTokens: 4, minTokens: 5 }],
    ['seed', { seed: -1n }],
    ['seed', { seed: 2n ** 64n }],
    ['logit_bias', { logitBias: new Map([[50, 1]]) }],
    ['logit_bias', { logitBias: new Map([[1, 101]]) }],
    ['stop_token_ids', { stopTokenIds: [50] }],
    ['stop_token_ids', { stopTokenIds: Array<number>(257).fill(1) }],
    ['logit_bias', { logitBias: new Map(Array.from({ length: 1025 }, (_, token) => [token, 1])) }],
    ['stop', { stop: [''] }],
    ['stop', { stop: ['x'.repeat(513)] }],
    ['stop', { stop: Array<string>(17).fill('x') }],
  ]
  for (const [field, sampling] of refused) {
    it(`refuses ${describeFields(sampling).slice(0, 60)}, naming ${field}`, () =>
      assert.throws(() => check(sampling), names(field)))
  }

  it('refuses n, logprobs and prompts out of range, naming them', () => {
    for (const n of [-1, 65, 1.5]) assert.throws(() => check({}, { n }), names('n'))
    for (const logprobs of [-1, 21]) assert.throws(() => check({}, { logprobs }), names('logprobs'))
    for (const tokens of [[], [50], [-1], [1.5], Array<number>(32).fill(1)]) {
      assert.throws(() => check({}, { prompt: { kind: 'tokens', tokens } }), names('prompt'))
    }
  })

  it('plans no more tokens than the KV cache holds', () => {
    assert.equal(check({}, {}, { kvTokens: 16 }).maxTokens, 13)
    const isForKv = (field: string) => (error: unknown) =>
      names(field)(error) && error instanceof ClusterError && error.details.reason === 'KV_TOO_SMALL'
    assert.throws(() => check({}, {}, { kvTokens: 3 }), isForKv('prompt'))
    assert.throws(() => check({ maxTokens: 14 }, {}, { kvTokens: 16 }), isForKv('max_tokens'))
    assert.throws(() => check({ maxTokens: 14 }, {}, { kvTokens: 16 }), /holds 16 tokens/)
  })
})

function names(field: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof ClusterError &&
    error.code === 'invalid_argument' &&
    error.details.field === field &&
    error.message.startsWith(`${field}: `) &&
    /want|holds/.test(error.message)
}

function describeFields(sampling: SamplingInput): string {
  return JSON.stringify(sampling, (_, value: unknown) => {
    if (typeof value === 'bigint') return value.toString()
    if (typeof value === 'string' && value.length > 9) return `${value.length} characters`
    if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
    return value instanceof Map ? Object.fromEntries(value as Map<number, number>) : value // of this file's own making
  })
}
