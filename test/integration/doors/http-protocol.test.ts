// What the HTTP door puts on the wire, and what it does when a client is slow, rude or gone.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { connect } from 'node:net'
import OpenAI from 'openai'
import { ClusterError } from '../../../lib/errors.js'
import { startHttpServer, type HttpServer } from '../../../services/router/http/http-server.js'
import { eventually } from '../../helpers/eventually.js'
import { accepted, answer, chunk, createScriptedEngine, flood, hang, refuseWith, silent } from './scripted-engine.js'

const COMPLETIONS = '/v1/completions'

describe('the HTTP door’s protocol', () => {
  const engine = createScriptedEngine()
  let door: HttpServer
  before(async () => {
    door = await startHttpServer({ ...options, engine, limits: { maxBodyBytes: 100_000 } })
  })
  after(() => door.stop(0))
  beforeEach(() => engine.play(answer))

  const options = { engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent }

  const post = (body: unknown, path = COMPLETIONS, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${door.url}${path}`, { method: 'POST', body: JSON.stringify(body), headers })

  /** A response whose body nobody reads yet. */
  async function open(body: unknown, extra: RequestOptions = {}): Promise<IncomingMessage> {
    const client = httpRequest(`${door.url}${COMPLETIONS}`, { method: 'POST', ...extra })
    client.on('error', () => undefined) // its own destroy
    client.end(JSON.stringify(body))
    const [response] = (await once(client, 'response')) as [IncomingMessage] // the event's form
    response.on('error', () => undefined)
    return response.pause()
  }

  /** What comes back for raw bytes, until the server closes. */
  async function raw(text: string): Promise<string> {
    const socket = connect(Number(new URL(door.url).port), '127.0.0.1')
    socket.end(text)
    return Buffer.concat(await socket.toArray()).toString()
  }

  const isOver = (): boolean => engine.calls.every(({ hasEnded }) => hasEnded)

  describe('streams', () => {
    const events = async (response: Response): Promise<unknown[]> => {
      const text = await response.text()
      assert.ok(text.endsWith('data: [DONE]\n\n'))
      const parts = text.slice(0, -'data: [DONE]\n\n'.length).split('\n\n').slice(0, -1)
      return parts.map((part): unknown => JSON.parse(part.slice('data: '.length)))
    }

    it('a chat: role, text, finish, usage, done', async () => {
      const body = {
        messages: [{ role: 'user', content: 'hi' }],
        stream: true,
        stream_options: { include_usage: true },
      }
      const response = await post(body, '/v1/chat/completions')
      assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
      const head = {
        id: 'chatcmpl-req-1',
        object: 'chat.completion.chunk',
        created: 1_700_000_000,
        model: 'demo',
        system_fingerprint: 'bny-0',
        seed: 7,
      }
      const one = (delta: object, finish: string | null = null, more = {}) => ({
        ...head,
        choices: [{ index: 0, delta, logprobs: null, finish_reason: finish, ...more }],
        usage: null,
      })
      const usage = {
        prompt_tokens: 3,
        completion_tokens: 2,
        total_tokens: 5,
        prompt_tokens_details: { cached_tokens: 1 },
      }
      assert.deepEqual(await events(response), [
        one({ role: 'assistant', content: '' }),
        one({ content: 'a' }),
        one({ content: 'b' }),
        one({}, 'length', { stop_reason: null }),
        { ...head, choices: [], usage },
      ])
    })

    it('a list of prompts: choice j of prompt i has the index i * n + j', async () => {
      const all = await events(await post({ prompt: ['x', 'y', 'z'], n: 2, stream: true, return_token_ids: true }))
      const seen = all.flatMap((event) => (event as { choices: { index: number; token_ids: number[] }[] }).choices) // documented
      for (let index = 0; index < 6; index++)
        assert.deepEqual(
          seen.filter((choice) => choice.index === index).flatMap((choice) => choice.token_ids),
          [100, 101],
        )
    })

    it('an error in the middle: as an event, and no [DONE]', async () => {
      engine.play(async function* () {
        yield accepted('r')
        yield chunk(0, 0, 'a')
        throw new ClusterError('unavailable', 'layer 3, expert 7: no live replica')
      })
      const text = await (await post({ prompt: 'x', stream: true })).text()
      const last = text.trimEnd().split('\n\n').at(-1) ?? ''
      assert.deepEqual(JSON.parse(last.slice('data: '.length)), {
        error: {
          message: 'layer 3, expert 7: no live replica',
          type: 'server_error',
          param: null,
          code: 'unavailable',
        },
      })
    })

    it('an error before the first event: as a status', async () => {
      engine.play(refuseWith(new ClusterError('unavailable', 'the cluster is still starting')))
      assert.equal((await post({ prompt: 'x', stream: true })).status, 503)
    })

    it('headers go out when the request is accepted, before any token', async () => {
      engine.play(async function* (_, signal) {
        yield accepted('r')
        await once(signal, 'abort')
      })
      const response = await open({ prompt: 'x', stream: true })
      assert.equal(response.headers['x-request-id'], 'r')
      response.destroy()
      await eventually(isOver, 'the request is let go')
    })
  })

  describe('frees the engine', () => {
    it('when the client leaves while the engine works', async () => {
      engine.play(hang)
      const response = await open({ prompt: 'x', stream: true })
      response.destroy()
      await eventually(isOver, 'the request is let go')
      assert.equal(engine.calls[0]?.signal.aborted, true)
    })

    it('when the client of a response that is not streamed leaves', async () => {
      engine.play(hang)
      const abort = new AbortController()
      const call = fetch(`${door.url}${COMPLETIONS}`, {
        method: 'POST',
        body: '{"prompt":"x"}',
        signal: abort.signal,
      })
      await eventually(() => engine.calls.length === 1, 'it runs')
      abort.abort()
      await assert.rejects(call)
      await eventually(isOver, 'the request is let go')
    })

    it('when a client that reads nothing leaves', async () => {
      engine.play(flood())
      const response = await open({ prompt: 'x', stream: true })
      await eventually(() => (engine.calls[0]?.numEvents ?? 0) > 2, 'it flows')
      response.destroy()
      await eventually(isOver, 'the request is let go')
    })

    for (const stream of [true, false]) {
      it(`of the other prompts when one fails (${stream ? 'streamed' : 'whole'})`, async () => {
        engine.play((input, signal) =>
          input.prompt.kind === 'text' && input.prompt.text === 'bad'
            ? (async function* () {
                yield accepted('bad')
                throw new ClusterError('unavailable', 'no live replica')
              })()
            : hang(input, signal),
        )
        const response = await post({ prompt: ['x', 'bad', 'y'], stream })
        assert.match(await response.text(), /no live replica/)
        await eventually(isOver, 'every request is let go')
      })
    }
  })

  it('takes events at the pace of the reader', async () => {
    engine.play(flood(2000)) // 128 MB
    const response = await open({ prompt: 'x', stream: true })
    const taken = (): number => engine.calls[0]?.numEvents ?? 0
    let last = -1
    await eventually(async () => {
      const isStill = taken() === last && taken() > 2
      last = taken()
      await new Promise((resolve) => setTimeout(resolve, 30))
      return isStill
    }, 'the door stops asking')
    assert.ok(taken() < 500, `${taken()} events for a reader of none`)
    response.destroy()
  })

  it('waits for room once, however many choices write', async () => {
    const warnings: string[] = []
    const listen = (warning: Error): void => void warnings.push(warning.name)
    process.on('warning', listen)
    engine.play(flood())
    const response = await open({ prompt: Array<string>(24).fill('x'), stream: true })
    await eventually(() => engine.calls.every(({ numEvents }) => numEvents > 1), 'all of them flow')
    response.destroy()
    await eventually(isOver, 'every request is let go')
    process.off('warning', listen)
    assert.deepEqual(warnings, [])
  })

  describe('bodies', () => {
    it('above the bound, declared: 413', async () => {
      const response = await post({ prompt: 'x'.repeat(200_000) })
      assert.equal(response.status, 413)
      assert.match(await response.text(), /at most 100000 bytes, got 200013/)
    })

    it('above the bound, chunked: 413, and the connection lives on', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      const send = async (bytes: number): Promise<IncomingMessage> => {
        const client = httpRequest(`${door.url}${COMPLETIONS}`, { method: 'POST', agent })
        client.write('{"prompt":"')
        client.write('x'.repeat(bytes))
        client.end('"}')
        const [response] = (await once(client, 'response')) as [IncomingMessage] // the event's form
        response.resume()
        await once(response, 'end')
        return response
      }
      const big = await send(2_000_000)
      const small = await send(10)
      agent.destroy()
      assert.deepEqual([big.statusCode, small.statusCode], [413, 200])
      assert.equal(big.socket, small.socket)
    })

    it('that are no UTF-8: 400', async () => {
      const body = Buffer.from([...Buffer.from('{"prompt":"'), 0xff, ...Buffer.from('"}')])
      const response = await fetch(`${door.url}${COMPLETIONS}`, { method: 'POST', body })
      assert.equal(response.status, 400)
      assert.match(await response.text(), /not UTF-8/)
    })

    it('that are no JSON: 400 with the place', async () => {
      const response = await fetch(`${door.url}${COMPLETIONS}`, { method: 'POST', body: '{"prompt" 1}' })
      assert.match(await response.text(), /not JSON: .*position 10/)
    })

    it('with a seed of 64 bits: every digit counts, written as a number or as text', async () => {
      const seedOf = async (seed: string): Promise<bigint | undefined> => {
        const body = `{"prompt":"\\"seed\\":18446744073709551614", "seed" : ${seed}}`
        const response = await fetch(`${door.url}${COMPLETIONS}`, { method: 'POST', body })
        return response.status === 200 ? engine.calls.at(-1)?.input.sampling.seed : undefined
      }
      assert.equal(await seedOf('18446744073709551615'), 2n ** 64n - 1n)
      assert.equal(await seedOf('"18446744073709551615"'), 2n ** 64n - 1n)
      assert.equal(await seedOf('9007199254740993'), 2n ** 53n + 1n)
      assert.equal(await seedOf('7'), 7n)
      for (const none of ['18446744073709551615.5', '1e19', '-9223372036854775808'])
        assert.equal(await seedOf(none), undefined)
      assert.deepEqual(engine.calls.at(-1)?.input.prompt, { kind: 'text', text: '"seed":18446744073709551614' })
    })

    it('of any content type', async () => {
      assert.equal((await post({ prompt: 'x' }, COMPLETIONS, { 'content-type': 'text/plain' })).status, 200)
    })

    it('that do not come in time: the connection is closed', async () => {
      const hasty = await startHttpServer({
        ...options,
        limits: { headersTimeoutMs: 50, bodyTimeoutMs: 50 },
      })
      const socket = connect(Number(new URL(hasty.url).port), '127.0.0.1')
      socket.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{')
      assert.match(Buffer.concat(await socket.toArray()).toString(), /^HTTP\/1\.1 408 /)
      await hasty.stop(0)
    })
  })

  describe('targets', () => {
    const targets: readonly [string, number][] = [
      ['/v1/models/%zz', 400],
      ['/v1/requests/%ff', 400],
      ['//', 404],
      ['*', 400],
      ['http://elsewhere/health', 200],
      ['/v1/models/demo', 200],
      ['/v1/models/other', 404],
      ['/v1/requests/other', 404],
    ]
    for (const [target, status] of targets) {
      it(`${target}: ${status}`, async () => {
        const text = await raw(`GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
        assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `))
      })
    }

    it('a wrong method: 405 and the right ones', async () => {
      const response = await fetch(`${door.url}/v1/requests/running`, { method: 'PUT' })
      assert.deepEqual([response.status, response.headers.get('allow')], [405, 'GET, DELETE'])
    })

    it('HEAD where GET is', async () => {
      assert.equal((await fetch(`${door.url}/health`, { method: 'HEAD' })).status, 200)
    })

    it('a request: its state and its end', async () => {
      const url = `${door.url}/v1/requests/running`
      assert.deepEqual(await (await fetch(url)).json(), {
        id: 'running',
        state: 'running',
        choices: [{ token_ids: [100], text: 'a', finish_reason: null }],
      })
      assert.deepEqual(await (await fetch(url, { method: 'DELETE' })).json(), { id: 'running', cancelled: true })
      assert.equal((await fetch(`${door.url}/v1/requests/other`, { method: 'DELETE' })).status, 404)
    })

    it('the rest of a request’s stream, from a token on', async () => {
      const headers = { accept: 'text/event-stream' }
      const response = await fetch(`${door.url}/v1/requests/running?offset=1`, { headers })
      const lines = (await response.text()).trim().split('\n\n')
      assert.equal(lines.at(-1), 'data: [DONE]')
      assert.match(lines[0] ?? '', /"token_ids":\[100\]/)
      assert.deepEqual([engine.calls[0]?.input.requestId, engine.calls[0]?.held?.[0]], ['running', 1])
      await (await fetch(`${door.url}/v1/requests/running?offset=3,4`, { headers })).text()
      assert.deepEqual(engine.calls[1]?.held, [3, 4])
    })

    it('a request whose id fits in no header', async () => {
      const headers = { accept: 'text/event-stream' }
      const response = await fetch(`${door.url}/v1/requests/${encodeURIComponent('λ\n')}`, { headers })
      assert.deepEqual([response.status, response.headers.get('x-request-id')], [200, null])
      assert.equal(engine.calls.at(-1)?.input.requestId, 'λ\n')
    })

    it('an offset that is none: 400', async () => {
      for (const offset of ['-1', 'x', '1,,2', '99999999999']) {
        assert.equal((await fetch(`${door.url}/v1/requests/running?offset=${offset}`)).status, 400)
      }
    })
  })

  it('an official client waits as long as a full queue says, then tries again', async () => {
    const full = refuseWith(new ClusterError('resource_exhausted', 'queue: full', { details: { retryAfterMs: '20' } }))
    let numCalls = 0
    engine.play((input, signal) => ((numCalls += 1) === 1 ? full : answer)(input, signal))
    const client = new OpenAI({ baseURL: `${door.url}/v1`, apiKey: 'none', maxRetries: 1 })
    const { choices } = await client.completions.create({ model: 'demo', prompt: 'x' })
    assert.equal(choices[0]?.text, 'ab')
    assert.equal(numCalls, 2)
  })

  it('an official client tries nothing again that a retry does not help', async () => {
    const broken = refuseWith(new ClusterError('internal', 'chat template: it did not end within 1000 ms'))
    let numCalls = 0
    engine.play((input, signal) => {
      numCalls += 1
      return broken(input, signal)
    })
    const client = new OpenAI({ baseURL: `${door.url}/v1`, apiKey: 'none', maxRetries: 1 })
    await assert.rejects(client.completions.create({ model: 'demo', prompt: 'x' }), /did not end/)
    assert.equal(numCalls, 1)
  })

  it('stops as soon as the last response is out, though its connection is kept alive', async () => {
    const leaving = await startHttpServer(options)
    let release = (): void => undefined
    engine.play(async function* (input, signal) {
      await new Promise<void>((resolve) => (release = resolve))
      yield* answer(input, signal)
    })
    const call = fetch(`${leaving.url}${COMPLETIONS}`, { method: 'POST', body: '{"prompt":"x"}' })
    await eventually(() => engine.calls.length === 1, 'it runs')
    const stopped = leaving.stop(60_000)
    release()
    assert.equal((await call).status, 200)
    await stopped
  })
})

describe('an HTTP door that drains', () => {
  it('answers, and ends each connection with its answer: the next one may lead elsewhere', async () => {
    const engine = createScriptedEngine()
    const door = await startHttpServer({ engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent })
    const connection = async (): Promise<string | null> => {
      const response = await fetch(`${door.url}/version`)
      await response.text()
      return response.headers.get('connection')
    }
    assert.equal(await connection(), 'keep-alive')
    door.drain()
    assert.equal(await connection(), 'close')
    await door.stop(0)
  })
})

describe('the HTTP door with keys', () => {
  let door: HttpServer
  before(async () => {
    const engine = createScriptedEngine()
    door = await startHttpServer({ engine, host: '127.0.0.1', port: 0, apiKeys: ['one', 'two'], logger: silent })
  })
  after(() => door.stop(0))

  const status = async (path: string, headers: Record<string, string>): Promise<number> =>
    (await fetch(`${door.url}${path}`, { headers })).status

  const cases: readonly [string, string, Record<string, string>, number][] = [
    ['none', '/v1/models', {}, 401],
    ['a wrong one', '/v1/models', { authorization: 'Bearer three' }, 401],
    ['an empty one', '/v1/models', { authorization: 'Bearer ' }, 401],
    ['another scheme', '/v1/models', { authorization: 'Basic one' }, 401],
    ['a right one', '/v1/models', { authorization: 'Bearer two' }, 200],
    ['a right x-api-key', '/v1/models', { 'x-api-key': 'one' }, 200],
    ['none, for metrics', '/metrics', {}, 401],
    ['none, for a probe', '/health', {}, 200],
    ['none, for the version', '/version', {}, 200],
  ]
  for (const [title, path, headers, wanted] of cases)
    it(`${title}: ${wanted}`, async () => assert.equal(await status(path, headers), wanted))

  it('names the scheme it wants, and the request', async () => {
    const { headers } = await fetch(`${door.url}/v1/models`, { headers: { 'x-request-id': 'mine' } })
    assert.deepEqual([headers.get('www-authenticate'), headers.get('x-request-id')], ['Bearer', 'mine'])
  })
})
