// The HTTP door against whatever comes in: one typed error, never a crash, nothing else lost.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { eventually } from '../helpers/eventually.js'
import { createTokenizer } from '../../lib/model/tokenizer.js'
import { demoModel } from '../helpers/paths.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'
import { makeChatModel, testChats } from './chats.js'

describe('the HTTP door', function () {
  this.timeout(30_000)
  let cluster: TestCluster
  const model = makeChatModel()
  before(async () => {
    const { path, traceDir } = model
    cluster = await startTestCluster({ experts: 1, drafters: 0, draft: [], model: path, traceDir })
  })
  after(async () => {
    await cluster.stop()
    model.remove()
  })

  describe('and the gRPC door, of chats:', () => testChats(() => ({ cluster, model })))

  const post = (path: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${cluster.router.http}${path}`, { method: 'POST', body, headers })

  const errorOf = async (response: Response): Promise<{ message: string; param: string | null; code: string }> =>
    ((await response.json()) as { error: { message: string; param: string | null; code: string } }).error // the documented form

  const cases: readonly [title: string, path: string, body: string, status: number, message: RegExp][] = [
    ['a body that is no JSON', '/v1/completions', '{"prompt":', 400, /not JSON/],
    ['a body that is a list', '/v1/completions', '[]', 400, /want a JSON object/],
    ['a missing prompt', '/v1/completions', '{"model":"demo"}', 400, /prompt: want text/],
    ['a prompt of mixed kinds', '/v1/completions', '{"prompt":["a",1]}', 400, /prompt/],
    ['a field of the wrong type', '/v1/completions', '{"prompt":"a","temperature":"hot"}', 400, /temperature/],
    [
      'tools, which are not served',
      '/v1/chat/completions',
      '{"messages":[{"role":"user","content":"a"}],"tools":[{}]}',
      400,
      /tools: is not supported/,
    ],
    [
      'an image in a message',
      '/v1/chat/completions',
      '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}',
      400,
      /messages\.0\.content/,
    ],
    ['no messages', '/v1/chat/completions', '{"messages":[]}', 400, /at least one message/],
    ['ids that are no ids', '/detokenize', '{"tokens":[-1]}', 400, /tokens\.0/],
    [
      'ids outside of the vocabulary',
      '/detokenize',
      '{"tokens":[1,4096]}',
      400,
      /tokens: token id 4096: want 0 … 4095/,
    ],
    ['a text for another model', '/tokenize', '{"model":"other","prompt":"a"}', 404, /this cluster serves demo/],
    ['ids of another model', '/detokenize', '{"model":"other","tokens":[1]}', 404, /this cluster serves demo/],
    ['an unknown path', '/v2/completions', '{}', 404, /no such path/],
    ['a wrong method', '/v1/models', '{}', 405, /want GET, got POST/],
  ]
  for (const [title, path, body, status, message] of cases) {
    it(`refuses ${title}`, async () => {
      const response = await post(path, body)
      assert.equal(response.status, status)
      assert.match((await errorOf(response)).message, message)
    })
  }

  it('refuses a body above its limit without reading it', async () => {
    const response = await post('/v1/completions', `{"prompt":"${'a'.repeat(17 * 1024 * 1024)}"}`).catch(
      () => undefined,
    )
    assert.ok(response === undefined || response.status === 413)
    assert.equal((await fetch(`${cluster.router.http}/health`)).status, 200)
  })

  it('ignores fields that it does not know', async () => {
    const response = await post('/v1/completions', '{"prompt":"a","max_tokens":1,"some_tool_field":{"x":1}}')
    assert.equal(response.status, 200)
  })

  it('refuses a request id with blanks, and returns a good one', async () => {
    const body = '{"prompt":"a","max_tokens":1}'
    assert.equal((await post('/v1/completions', body, { 'x-request-id': 'a b' })).status, 400)
    assert.equal((await post('/v1/completions', body, { 'x-request-id': 'mine' })).headers.get('x-request-id'), 'mine')
  })

  it('joins a request id, and refuses it with another body (409)', async () => {
    const headers = { 'x-request-id': 'again' }
    const body = '{"prompt":"export ","max_tokens":8,"return_token_ids":true}'
    const [first, second] = await Promise.all([
      post('/v1/completions', body, headers),
      post('/v1/completions', body, headers),
    ])
    assert.deepEqual(await first.json(), await second.json())
    assert.equal((await post('/v1/completions', '{"prompt":"import "}', headers)).status, 409)
    const state = (await (await fetch(`${cluster.router.http}/v1/requests/again`)).json()) as {
      state: string
      choices: { token_ids: number[] }[]
    } // documented
    assert.equal(state.state, 'finished')
    assert.equal(state.choices[0]?.token_ids.length, 8)
  })

  it('streams token ids once each, and text that is whole', async () => {
    const response = await post(
      '/v1/completions',
      '{"prompt":"λ → ","max_tokens":40,"temperature":0,"stream":true,"return_token_ids":true}',
    )
    const events = (await response.text()).split('\n\n').filter((line) => line.startsWith('data: {'))
    const choices = events.map(
      (line) => (JSON.parse(line.slice(6)) as { choices: { text: string; token_ids: number[] }[] }).choices[0],
    ) // documented
    assert.equal(choices.flatMap((choice) => choice?.token_ids ?? []).length, 40)
    assert.ok(choices.every((choice) => !choice?.text.includes('\ufffd')))
  })

  it('tokenizes and back', async () => {
    const { tokens } = (await (await post('/tokenize', '{"prompt":"export λ"}')).json()) as { tokens: number[] } // documented
    const { prompt } = (await (await post('/detokenize', JSON.stringify({ tokens }))).json()) as { prompt: string } // documented
    assert.equal(prompt, 'export λ')
    const bare = await (await post('/tokenize', '{"prompt":"export λ","add_special_tokens":false}')).json()
    assert.deepEqual((bare as { tokens: number[] }).tokens, tokens) // this model puts nothing around a text
  })

  it('tells the vocabulary, and which of its ids no text holds', async () => {
    const { data } = (await (await fetch(`${cluster.router.http}/v1/models`)).json()) as {
      data: { vocab_size: number; reserved_tokens: number[][] }[]
    } // documented
    const tokenizer = createTokenizer(demoModel, 4096)
    const ids = Array.from({ length: data[0]?.vocab_size ?? 0 }, (_, id) => id)
    assert.equal(ids.length, 4096)
    const reserved = data[0]?.reserved_tokens.flatMap(([first = 0, last = 0]) => ids.slice(first, last + 1))
    assert.ok(reserved?.includes(tokenizer?.encode('<|endoftext|>', { parseSpecial: true })[0] ?? -1))
    assert.deepEqual(
      reserved,
      ids.filter((id) => tokenizer?.isPlain(id) === false),
    )
  })

  it('exports vLLM’s metric names', async () => {
    const text = await (await fetch(`${cluster.router.http}/metrics`)).text()
    for (const name of [
      'vllm:num_requests_running',
      'vllm:time_to_first_token_seconds_bucket',
      'vllm:generation_tokens_total',
    ])
      assert.ok(text.includes(name), name)
  })

  it('a client that vanishes in the middle of a stream frees its request', async () => {
    const body = '{"prompt":"export ","max_tokens":1500,"ignore_eos":true,"stream":true}'
    const client = httpRequest(`${cluster.router.http}/v1/completions`, { method: 'POST' })
    client.on('error', () => undefined) // its own destroy
    client.end(body)
    await new Promise((resolve) => client.once('response', resolve))
    client.destroy()
    const isIdle = async (): Promise<boolean> => {
      const { requests } = (await (await fetch(`${cluster.router.http}/cluster`)).json()) as {
        requests: { running: number }
      } // documented
      return requests.running === 0
    }
    await eventually(isIdle, 'it no longer runs')
  })

  it('a client that reads nothing for a while holds nobody up, and misses nothing', async () => {
    const headers = { 'x-request-id': 'slow-reader' }
    const body =
      '{"prompt":"export ","max_tokens":400,"ignore_eos":true,"stream":true,"logprobs":20,"return_token_ids":true}'
    const slow = httpRequest(`${cluster.router.http}/v1/completions`, { method: 'POST', headers })
    slow.end(body)
    const response = await new Promise<IncomingMessage>((resolve) => slow.once('response', resolve))
    response.pause()
    assert.equal((await post('/v1/completions', '{"prompt":"a","max_tokens":4}')).status, 200)
    const state = async (): Promise<string> =>
      ((await (await fetch(`${cluster.router.http}/v1/requests/slow-reader`)).json()) as { state: string }).state // documented
    await eventually(async () => (await state()) === 'finished', 'it is finished, unread')
    const text = Buffer.concat(await response.toArray()).toString()
    const ids = text.matchAll(/"token_ids":\[([\d,]*)\]/g)
    assert.equal([...ids].flatMap(([, list = '']) => (list === '' ? [] : list.split(','))).length, 400)
    assert.ok(text.endsWith('data: [DONE]\n\n'))
  })

  it('random JSON never gives a 5xx', async () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 2 },
        fc.integer({ min: -5, max: 5000 }),
        fc.double(),
        fc.string({ maxLength: 8 }),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(fc.string({ maxLength: 5 }), tie('any'), { maxKeys: 3 }),
      ),
    })).any
    const fields = [
      'prompt',
      'messages',
      'model',
      'temperature',
      'top_p',
      'n',
      'stop',
      'logit_bias',
      'logprobs',
      'stream',
      'seed',
      'stream_options',
      'min_p',
      'tools',
    ]
    const body = fc.dictionary(fc.constantFrom(...fields), value, { maxKeys: 6 })
    const path = fc.constantFrom('/v1/completions', '/v1/chat/completions', '/tokenize', '/detokenize')
    await fc.assert(
      fc.asyncProperty(path, body, async (to, json) => {
        const response = await post(to, JSON.stringify({ max_tokens: 1, ...json }))
        await response.arrayBuffer()
        assert.ok(response.status < 500, `${response.status} for ${JSON.stringify(json)}`)
      }),
      { numRuns: 150 },
    )
  })
})
