// What the HTTP door takes, ignores and refuses, and what the engine gets of it.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { chatInput, completionInputs } from '../../../services/router/http/openai-input.js'
import { chatSchema, completionSchema, parseBody } from '../../../services/router/http/schemas.js'

const context = { requestId: undefined, tenant: '' }
const completion = (body: object) => completionInputs(parseBody(completionSchema, { prompt: 'x', ...body }), context)
const messages = [{ role: 'user', content: 'hi' }]
const chat = (body: object) => chatInput(parseBody(chatSchema, { messages, ...body }), context)

const names =
  (field: string) =>
  (error: unknown): boolean =>
    error instanceof ClusterError && error.code === 'invalid_argument' && error.details.field === field

describe('an OpenAI body', () => {
  describe('of a completion', () => {
    const prompts: readonly [string, unknown, unknown][] = [
      ['text', 'x', [{ kind: 'text', text: 'x' }]],
      ['ids', [1, 2], [{ kind: 'tokens', tokens: [1, 2] }]],
      [
        'a list of texts',
        ['x', 'y'],
        [
          { kind: 'text', text: 'x' },
          { kind: 'text', text: 'y' },
        ],
      ],
      [
        'a list of ids',
        [[1], [2, 3]],
        [
          { kind: 'tokens', tokens: [1] },
          { kind: 'tokens', tokens: [2, 3] },
        ],
      ],
    ]
    for (const [title, prompt, wanted] of prompts) {
      it(`takes ${title}`, () =>
        assert.deepEqual(
          completion({ prompt }).map((input) => input.prompt),
          wanted,
        ))
    }

    const bad: readonly [string, unknown][] = [
      ['nothing', undefined],
      ['an empty list', []],
      ['half a token', [1.5]],
      ['a mixture', ['x', 1]],
      ['an object', {}],
      ['too many prompts', Array<string>(1025).fill('x')],
    ]
    for (const [title, prompt] of bad)
      it(`refuses ${title} as prompt`, () => assert.throws(() => completion({ prompt }), names('prompt')))

    it('has 16 tokens by default, as OpenAI’s, where the context has room for them', () => {
      assert.deepEqual([completion({})[0]?.sampling.maxTokens, completion({})[0]?.usualTokens], [undefined, 16])
    })

    it('gives each prompt of a list an id of its own', () => {
      const inputs = completionInputs(parseBody(completionSchema, { prompt: ['x', 'y'] }), {
        requestId: 'mine',
        tenant: '',
      })
      assert.deepEqual(
        inputs.map(({ requestId }) => requestId),
        ['mine.0', 'mine.1'],
      )
    })
  })

  describe('of a chat', () => {
    it('joins the text parts of a message', () => {
      const content = [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ]
      const { prompt } = chat({ messages: [{ role: 'user', content }] })
      assert.deepEqual(prompt, { kind: 'chat', messages: [{ role: 'user', content: 'ab' }] })
    })

    it('takes max_completion_tokens before max_tokens, and the engine’s default without', () => {
      assert.equal(chat({ max_completion_tokens: 3, max_tokens: 5 }).sampling.maxTokens, 3)
      assert.equal(chat({ max_tokens: 5 }).sampling.maxTokens, 5)
      assert.equal(chat({}).sampling.maxTokens, undefined)
    })

    it('wants logprobs beside top_logprobs', () => {
      assert.equal(chat({ logprobs: true, top_logprobs: 2 }).logprobs, 2)
      assert.equal(chat({ logprobs: true }).logprobs, 0)
      assert.throws(() => chat({ top_logprobs: 2 }), names('top_logprobs'))
    })

    it('refuses calls of tools in its messages', () =>
      assert.throws(
        () => chat({ messages: [{ role: 'assistant', content: null, tool_calls: [{}] }] }),
        names('messages.0.tool_calls.0'),
      ))
  })

  it('leaves every absent or null field to the engine', () => {
    const absent = completion({ max_tokens: 1 })
    const fields = ['temperature', 'top_p', 'top_k', 'min_p', 'n', 'seed', 'stop', 'logit_bias', 'logprobs']
    assert.deepEqual(completion({ max_tokens: 1, ...Object.fromEntries(fields.map((field) => [field, null])) }), absent)
    const given = Object.entries(absent[0]?.sampling ?? {}).filter(([, value]) => value !== undefined)
    assert.deepEqual(given, [['maxTokens', 1]])
  })

  it('asks for trees at either endpoint', () => {
    assert.deepEqual(
      [completion({ return_trees: true })[0]?.returnTrees, completion({})[0]?.returnTrees],
      [true, undefined],
    )
    assert.equal(chat({ return_trees: true }).returnTrees, true)
    assert.deepEqual(
      ['low', 'high', -3, 0, 2, undefined].map((priority) => chat({ priority }).priority),
      ['low', 'high', 'high', 'normal', 'low', undefined],
    )
    for (const priority of ['urgent', 0.5]) assert.throws(() => chat({ priority }), /priority/)
  })

  it('wants at least one choice: only gRPC cannot tell 0 from an absent n', () => {
    for (const body of [completion, chat]) assert.throws(() => body({ n: 0 }), names('n'))
    assert.equal(chat({ n: 1 }).n, 1)
  })

  it('carries a seed of 64 bits as text', () => {
    assert.equal(completion({ seed: '18446744073709551615' })[0]?.sampling.seed, 2n ** 64n - 1n)
    assert.equal(completion({ seed: 7 })[0]?.sampling.seed, 7n)
    assert.throws(() => completion({ seed: 2 ** 60 }), names('seed'))
  })

  it('reads the extra fields of load tools', () => {
    const { sampling } = chat({
      ignore_eos: true,
      min_tokens: 4,
      stop_token_ids: [9],
      include_stop_str_in_output: true,
    })
    assert.deepEqual(
      [sampling.ignoreEos, sampling.minTokens, sampling.stopTokenIds, sampling.includeStop],
      [true, 4, [9], true],
    )
  })

  const unserved: readonly [field: string, refused: unknown, neutral: unknown][] = [
    ['tools', [{}], []],
    ['tool_choice', 'required', 'auto'],
    ['response_format', { type: 'json_object' }, { type: 'text' }],
    ['modalities', ['text', 'audio'], ['text']],
    ['best_of', 2, 1],
    ['suffix', 'x', ''],
    ['echo', true, false],
    ['skip_special_tokens', false, true],
    ['continue_final_message', true, false],
    ['chat_template', '{{ x }}', null],
    ['guided_regex', 'a+', null],
    ['constructor', undefined, {}],
  ]
  for (const [field, refused, neutral] of unserved) {
    it(`with ${field}: only where it changes nothing`, () => {
      if (refused !== undefined) assert.throws(() => completion({ [field]: refused }), names(field))
      assert.deepEqual(completion({ [field]: neutral }), completion({}))
    })
  }

  it('may hold anything: it is taken, or refused with the name of a field', () => {
    const fields = [...Object.keys(completionSchema.shape), 'messages', 'tools', '__proto__', 'other']
    const body = fc.dictionary(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 5 })
    fc.assert(
      fc.property(body, fc.constantFrom('chat', 'completion'), (json, kind) => {
        try {
          if (kind === 'chat') chatInput(parseBody(chatSchema, json), context)
          else completionInputs(parseBody(completionSchema, json), context)
        } catch (error) {
          assert.ok(error instanceof ClusterError && error.code === 'invalid_argument', String(error))
          assert.notEqual(error.details.field ?? '', '')
        }
      }),
      { numRuns: 500 },
    )
  })
})
