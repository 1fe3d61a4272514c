// The official OpenAI client against a real cluster.

import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { BanyanClient, BanyanError } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

describe('the official OpenAI client', function () {
  this.timeout(30_000)
  let cluster: TestCluster
  let client: OpenAI

  before(async () => {
    cluster = await startTestCluster({ apiKeys: ['right'], maxWaiting: 8 })
    client = new OpenAI({ baseURL: `${cluster.router.http}/v1`, apiKey: 'right', maxRetries: 0 })
  })
  after(() => cluster.stop())

  const completion = { model: 'demo', prompt: 'export interface ', max_tokens: 24, temperature: 0.9, seed: 7 }

  it('lists and gets the model', async () => {
    const models = await client.models.list()
    assert.deepEqual(
      models.data.map(({ id }) => id),
      ['demo'],
    )
    assert.equal((await client.models.retrieve('demo')).object, 'model')
  })

  it('completes, with usage and a fingerprint, the same each time', async () => {
    const first = await client.completions.create(completion)
    const second = await client.completions.create(completion)
    assert.equal(first.choices[0]?.text, second.choices[0]?.text)
    assert.ok((first.choices[0]?.text.length ?? 0) > 0)
    assert.equal(first.usage?.completion_tokens, 24)
    assert.equal(first.choices[0]?.finish_reason, 'length')
    assert.match(first.system_fingerprint ?? '', /^bny-[0-9a-f]{16}$/)
  })

  it('streams the same text as it returns whole, and the usage last', async () => {
    const whole = await client.completions.create(completion)
    let text = ''
    let usage: unknown
    const stream = await client.completions.create({
      ...completion,
      stream: true,
      stream_options: { include_usage: true },
    })
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? ''
      usage = chunk.usage ?? usage
    }
    assert.equal(text, whole.choices[0]?.text)
    assert.deepEqual(usage, whole.usage)
  })

  it('chats, streamed and whole, with several choices', async () => {
    const request = {
      model: 'demo',
      messages: [{ role: 'user' as const, content: 'export declare function ' }],
      max_completion_tokens: 12,
      seed: 3,
      n: 2,
    }
    const whole = await client.chat.completions.create(request)
    const streamed = ['', '']
    const roles: string[] = []
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
      for (const { index, delta } of chunk.choices) {
        if (delta.role !== undefined) roles.push(delta.role)
        streamed[index] += delta.content ?? ''
      }
    }
    assert.deepEqual(
      streamed,
      whole.choices.map(({ message }) => message.content),
    )
    assert.deepEqual(roles, ['assistant', 'assistant'])
    assert.notEqual(streamed[0], streamed[1])
  })

  it('returns log-probabilities in both forms', async () => {
    const text = await client.completions.create({ ...completion, max_tokens: 3, logprobs: 2 })
    assert.equal(text.choices[0]?.logprobs?.token_logprobs?.length, 3)
    const chat = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: 'export ' }],
      max_tokens: 3,
      temperature: 0,
      logprobs: true,
      top_logprobs: 2,
    })
    const content = chat.choices[0]?.logprobs?.content ?? []
    assert.equal(content.length, 3)
    assert.equal(content[0]?.top_logprobs[0]?.logprob, content[0]?.logprob)
  })

  it('takes a list of prompts', async () => {
    const { choices } = await client.completions.create({
      ...completion,
      prompt: ['const a', 'const b'],
      n: 2,
      max_tokens: 4,
    })
    assert.deepEqual(
      choices.map(({ index }) => index),
      [0, 1, 2, 3],
    )
  })

  it('stops at a stop string and says so', async () => {
    const whole = await client.completions.create({ ...completion, max_tokens: 64 })
    const text = whole.choices[0]?.text ?? ''
    const stop = text.slice(5, 8)
    const cut = await client.completions.create({ ...completion, max_tokens: 64, stop: [stop] })
    assert.equal(cut.choices[0]?.text, text.slice(0, text.indexOf(stop)))
    assert.equal(cut.choices[0]?.finish_reason, 'stop')
  })

  const failures: readonly [string, () => Promise<unknown>, new (...args: never[]) => Error, RegExp][] = [
    [
      'an unknown model',
      () => client.completions.create({ ...completion, model: 'gpt-5' }),
      OpenAI.NotFoundError,
      /gpt-5.*demo/,
    ],
    ['a wrong key', () => client.withOptions({ apiKey: 'wrong' }).models.list(), OpenAI.AuthenticationError, /key/],
    [
      'a temperature out of range',
      () => client.completions.create({ ...completion, temperature: -1 }),
      OpenAI.BadRequestError,
      /temperature.*-1/,
    ],
    [
      'max_tokens beyond the context',
      () => client.completions.create({ ...completion, max_tokens: 5000 }),
      OpenAI.BadRequestError,
      /max_tokens/,
    ],
    ['n out of range', () => client.completions.create({ ...completion, n: 1000 }), OpenAI.BadRequestError, /^400 n: /],
    [
      'a too long prompt',
      () => client.completions.create({ ...completion, prompt: Array<number>(3000).fill(5) }),
      OpenAI.BadRequestError,
      /3000 tokens.*2048/,
    ],
    [
      'an id outside the vocabulary',
      () => client.completions.create({ ...completion, prompt: [4096] }),
      OpenAI.BadRequestError,
      /4096.*4095/,
    ],
    [
      'an empty prompt',
      () => client.completions.create({ ...completion, prompt: '' }),
      OpenAI.BadRequestError,
      /at least one token/,
    ],
    [
      'more than the queue holds',
      () => client.completions.create({ ...completion, n: 64 }),
      OpenAI.RateLimitError,
      /queue/,
    ],
  ]
  for (const [title, call, type, message] of failures) {
    it(`refuses ${title} with its own error`, () =>
      assert.rejects(call, (error) => error instanceof type && message.test(error.message)))
  }

  it('retries a full queue after the time the server names', async () => {
    const response = await fetch(`${cluster.router.http}/v1/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer right' },
      body: JSON.stringify({ ...completion, n: 64 }),
    })
    assert.equal(response.status, 429)
    assert.ok(Number(response.headers.get('retry-after-ms')) > 0)
  })

  it('a request that ends with an error in the middle of its stream says so', async () => {
    const stream = await client.completions.create(
      { ...completion, max_tokens: 1500, stream: true },
      { headers: { 'x-request-id': 'ended-by-hand' } },
    )
    await assert.rejects(
      async () => {
        let isAsked = false
        for await (const chunk of stream) {
          if (isAsked || chunk.choices.length === 0) continue
          isAsked = true
          const url = `${cluster.router.http}/v1/requests/ended-by-hand`
          await fetch(url, { method: 'DELETE', headers: { authorization: 'Bearer right' } })
        }
      },
      (error) => error instanceof OpenAI.APIError && /cancelled/.test(error.message),
    )
  })

  it('gRPC asks for the key, too', async () => {
    const stranger = new BanyanClient({ address: cluster.router.grpc, apiKey: 'wrong' })
    await assert.rejects(
      stranger.modelInfo(),
      (error) => error instanceof BanyanError && error.code === 'unauthenticated',
    )
    await assert.rejects(
      stranger.complete({ text: 'a' }),
      (error) => error instanceof BanyanError && error.code === 'unauthenticated',
    )
    stranger.close()
    const known = new BanyanClient({ address: cluster.router.grpc, apiKey: 'right' })
    assert.equal((await known.modelInfo()).id, 'demo')
    known.close()
  })

  it('an abort ends the request in the cluster', async () => {
    const stream = await client.completions.create({
      ...completion,
      max_tokens: 1500,
      ignore_eos: true,
      stream: true,
    } as typeof completion & { stream: true })
    for await (const chunk of stream) if (chunk.choices.length > 0) break
    stream.controller.abort()
    await eventually(async () => (await runningRequests(cluster)) === 0, 'no request runs any more')
  })
})

async function runningRequests(cluster: TestCluster): Promise<number> {
  const response = await fetch(`${cluster.router.http}/cluster`, { headers: { authorization: 'Bearer right' } })
  const { requests } = (await response.json()) as { requests: { running: number; waiting: number } } // the documented form
  return requests.running + requests.waiting
}
