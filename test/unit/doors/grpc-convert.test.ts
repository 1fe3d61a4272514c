// A GenerateRequest as the server decodes it, and the SDK's message: both ends of the same wire.

import assert from 'node:assert/strict'
import { loadSync } from '@grpc/proto-loader'
import fc from 'fast-check'
import { join } from 'node:path'
import type { GenerateInput } from '../../../services/router/engine.js'
import { toGenerateInput, type WireGenerateRequest } from '../../../services/router/grpc/convert.js'
import { requestMessage } from '../../../sdk/src/convert.js'
import { BanyanError, type GenerateRequest } from '../../../sdk/src/index.js'
import { message } from '../../../sdk/src/proto.js'
import { repositoryRoot } from '../../helpers/paths.js'

const definition = loadSync('banyan/v1/inference.proto', {
  includeDirs: [join(repositoryRoot, 'proto')],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
})

/** What the engine gets of what the SDK was asked for, through the wire's bytes. */
function travel(request: GenerateRequest): GenerateInput {
  const service = definition['banyan.v1.InferenceService']
  assert.ok(service !== undefined && !('format' in service) && service.Generate !== undefined)
  const bytes = message('GenerateRequest').encode(requestMessage(request))
  return toGenerateInput(service.Generate.requestDeserialize(bytes) as WireGenerateRequest, 'tenant') // this method's request
}

describe('a request from the SDK to the engine', () => {
  it('leaves absent sampling fields absent', () => {
    const { sampling } = travel({ text: 'x', sampling: {} })
    const { temperature, topP, topK, minP, maxTokens, minTokens, seed, logitBias, repetitionPenalty } = sampling
    assert.deepEqual(
      [temperature, topP, topK, minP, maxTokens, minTokens, seed, logitBias, repetitionPenalty],
      Array(9).fill(undefined),
    )
  })

  it('keeps zeros that were given', () => {
    const { sampling } = travel({ text: 'x', sampling: { temperature: 0, topK: 0, seed: 0n } })
    assert.deepEqual([sampling.temperature, sampling.topK, sampling.seed], [0, 0, 0n])
  })

  it('carries each kind of prompt', () => {
    const chat = [{ role: 'user', content: 'hi' }]
    assert.deepEqual(travel({ text: 'λ' }).prompt, { kind: 'text', text: 'λ' })
    assert.deepEqual(travel({ tokens: [1, 2] }).prompt, { kind: 'tokens', tokens: [1, 2] })
    assert.deepEqual(travel({ chat }).prompt, { kind: 'chat', messages: chat })
  })

  it('turns drafts off only where it says so', () => {
    assert.equal(travel({ text: 'x' }).speculation, undefined)
    assert.equal(travel({ text: 'x', speculation: false }).speculation, false)
  })

  it('asks for trees only where it says so', () => {
    assert.equal(travel({ text: 'x' }).priority, 'normal')
    for (const priority of ['high', 'normal', 'low'] as const)
      assert.equal(travel({ text: 'x', priority }).priority, priority)
    assert.equal(travel({ text: 'x' }).returnTrees, false)
    assert.equal(travel({ text: 'x', returnTrees: true }).returnTrees, true)
  })

  it('asks for log-probabilities of none, of the token, of the best', () => {
    assert.deepEqual(
      [undefined, 0, 3].map(
        (logprobs) => travel({ text: 'x', ...(logprobs === undefined ? {} : { logprobs }) }).logprobs,
      ),
      [undefined, 0, 3],
    )
  })

  it('gives the engine the decimal that HTTP would have given it', () => {
    const short = fc.integer({ min: -20_000, max: 20_000 }).map((value) => value / 10_000)
    fc.assert(
      fc.property(short, short, (temperature, bias) => {
        const { sampling } = travel({ text: 'x', sampling: { temperature, logitBias: { 5: bias } } })
        assert.deepEqual([sampling.temperature, sampling.logitBias?.get(5)], [temperature, bias])
      }),
    )
  })

  it('never changes a float by its decimal form', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (topP) => {
        const arrived = travel({ text: 'x', sampling: { topP } }).sampling.topP ?? NaN
        assert.equal(Math.fround(arrived), topP + 0) // -0 is 0
      }),
    )
  })

  it('carries any seed of 64 bits', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (seed) =>
        assert.equal(travel({ text: 'x', sampling: { seed } }).sampling.seed, seed),
      ),
    )
  })

  const refused: readonly [string, GenerateRequest, RegExp][] = [
    ['no prompt', {}, /exactly one/],
    ['two prompts', { text: 'x', tokens: [1] }, /exactly one/],
    ['a negative id', { tokens: [-1] }, /tokens.*-1/],
    ['half a token', { tokens: [1.5] }, /tokens.*1\.5/],
    ['a negative max_tokens', { text: 'x', sampling: { maxTokens: -1 } }, /maxTokens.*-1/],
    ['half a choice', { text: 'x', n: 1.5 }, /n: .*1\.5/],
    ['a negative seed', { text: 'x', sampling: { seed: -1n } }, /seed.*-1/],
    ['a seed of 65 bits', { text: 'x', sampling: { seed: 2n ** 64n } }, /seed/],
  ]
  for (const [title, request, words] of refused) {
    it(`with ${title} does not leave`, () =>
      assert.throws(
        () => requestMessage(request),
        (error) => error instanceof BanyanError && error.code === 'invalid_argument' && words.test(error.message),
      ))
  }
})
