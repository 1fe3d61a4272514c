// What a client may send and how often, at both doors: beyond it there is one clear refusal, and the door stays open.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { BanyanClient, BanyanError } from '../../../sdk/src/index.js'
import { startGrpcServer, type GrpcServer } from '../../../services/router/grpc-server.js'
import { startHttpServer, type HttpLimits, type HttpServer } from '../../../services/router/http/http-server.js'
import { createRateLimits } from '../../../services/router/rate-limits.js'
import { eventually } from '../../helpers/eventually.js'
import { createScriptedEngine, silent } from './scripted-engine.js'

const options = { engine: createScriptedEngine(), host: '127.0.0.1', port: 0, apiKeys: [], logger: silent }
const COMPLETIONS = '/v1/completions'

describe('the bounds of the HTTP door', () => {
  const open = (limits: Partial<HttpLimits> = {}): Promise<HttpServer> => startHttpServer({ ...options, limits })
  const socketTo = (door: HttpServer) => connect(Number(new URL(door.url).port), '127.0.0.1')
  let door: HttpServer
  before(async () => {
    door = await open()
  })
  after(() => door.stop(0))

  const post = (body: string): Promise<Response> => fetch(`${door.url}${COMPLETIONS}`, { method: 'POST', body })
  const messageOf = async (response: Response): Promise<string> => {
    const { error } = (await response.json()) as { error: { message: string } } // OpenAI's shape
    return error.message
  }

  it('a body of 64 levels is read, of 65 refused, however it goes on', async () => {
    const nested = (levels: number): string =>
      `{"prompt":"[{[{\\"[","extra":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`
    assert.equal((await post(nested(64))).status, 200)
    for (const body of [nested(65), '['.repeat(1_000_000), '{"a":'.repeat(100_000)]) {
      const response = await post(body)
      assert.deepEqual(
        [response.status, await messageOf(response)],
        [400, 'request body: want at most 64 levels of lists and objects'],
      )
    }
  })

  it('what is wrong with a body is said without its text', async () => {
    const bodies = ['{"prompt":"my secret" x}', '{"prompt":my secret}', 'my secret', '{"prompt":"my secret']
    for (const body of bodies) {
      const response = await post(body)
      assert.equal(response.status, 400)
      assert.doesNotMatch(await messageOf(response), /secret/)
    }
  })

  it('headers beyond their size: 431', async () => {
    const response = await fetch(`${door.url}/health`, { headers: { 'x-long': 'x'.repeat(20_000) } })
    assert.equal(response.status, 431)
  })

  it('a connection that says nothing is closed in time', async () => {
    const hasty = await open({ headersTimeoutMs: 50, bodyTimeoutMs: 50 })
    const socket = socketTo(hasty)
    await socket.toArray()
    await hasty.stop(0)
  })

  it('headers that trickle in are cut in time', async () => {
    const hasty = await open({ headersTimeoutMs: 100, bodyTimeoutMs: 100 })
    const socket = socketTo(hasty)
    socket.write('GET /health HTTP/1.1\r\n')
    const trickle = setInterval(() => socket.write('x: y\r\n'), 20)
    socket.on('error', () => undefined)
    assert.match(Buffer.concat(await socket.toArray().catch(() => [])).toString(), /^(HTTP\/1\.1 408 |$)/)
    clearInterval(trickle)
    await hasty.stop(0)
  })

  it('connections beyond their number are closed, and taken again when there is room', async () => {
    const small = await open({ maxConnections: 1 })
    const first = socketTo(small)
    first.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n')
    await new Promise((resolve) => first.once('data', resolve))
    const second = socketTo(small)
    assert.equal((await second.toArray()).length, 0)
    first.destroy()
    const isTaken = async (): Promise<boolean> =>
      (await fetch(`${small.url}/health`).catch(() => undefined))?.status === 200
    await eventually(isTaken, 'there is room again')
    await small.stop(0)
  })
})

describe('the bounds of the gRPC door', () => {
  it('a message beyond its size is refused, and the connection lives on', async () => {
    const door = await startGrpcServer(options)
    const client = new BanyanClient({ address: door.address, maxAttempts: 1 })
    await assert.rejects(
      client.complete({ text: 'x'.repeat(17 * 1024 * 1024) }),
      (error: unknown) => error instanceof BanyanError && error.code === 'resource_exhausted',
    )
    assert.equal((await client.complete({ text: 'x' })).text, 'ab')
    client.close()
    await door.stop(0)
  })
})

describe('rates at the doors', () => {
  let nowMs = 0
  let http: HttpServer
  let grpc: GrpcServer
  let client: BanyanClient
  before(async () => {
    const rates = createRateLimits({ common: { requestsPerSecond: 2 }, own: () => undefined, now: () => nowMs })
    const doors = { ...options, apiKeys: ['one;name=alice', 'two;name=alice', 'three'], rates }
    http = await startHttpServer(doors)
    grpc = await startGrpcServer(doors)
    client = new BanyanClient({ address: grpc.address, apiKey: 'two', maxAttempts: 1 })
  })
  after(async () => {
    client.close()
    await Promise.all([http.stop(0), grpc.stop(0)])
  })
  beforeEach(() => {
    nowMs += 10_000
  })

  const post = (key: string): Promise<Response> =>
    fetch(`${http.url}${COMPLETIONS}`, {
      method: 'POST',
      body: '{"prompt":"x"}',
      headers: { authorization: `Bearer ${key}` },
    })

  it('are one for both doors, and for all keys of a name', async () => {
    assert.equal((await post('one')).status, 200)
    await client.complete({ text: 'x' })
    assert.equal((await post('one')).status, 429)
    assert.equal((await post('three')).status, 200)
    nowMs += 500
    assert.equal((await post('two')).status, 200)
  })

  it('say over HTTP when there is room', async () => {
    await post('one')
    await post('one')
    nowMs += 100
    const refused = await post('one')
    const { error } = (await refused.json()) as { error: { code: string; type: string } } // OpenAI's shape
    assert.deepEqual(
      [
        refused.status,
        refused.headers.get('retry-after-ms'),
        refused.headers.get('retry-after'),
        error.code,
        error.type,
      ],
      [429, '400', '1', 'rate_limited', 'rate_limit_error'],
    )
  })

  it('say over gRPC when there is room', async () => {
    await post('one')
    await post('one')
    await assert.rejects(
      client.complete({ text: 'x' }),
      (error: unknown) =>
        error instanceof BanyanError &&
        error.code === 'resource_exhausted' &&
        error.reason === 'RATE_LIMITED' &&
        error.retryAfterMs === 500,
    )
  })

  it('are not used up by what costs nothing', async () => {
    const headers = { authorization: 'Bearer one' }
    for (let i = 0; i < 20; i++) assert.equal((await fetch(`${http.url}/v1/models`, { headers })).status, 200)
  })
})
