// A request outlives its router: another one goes on at the client's offset, with the same tokens and text.

import assert from 'node:assert/strict'
import { BanyanClient, BanyanError, type GenerateEvent } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startTcpProxy } from '../chaos/tcp-proxy.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const sampling = { temperature: 0.8, seed: 3n, maxTokens: 160, ignoreEos: true }
const request = { text: 'export interface ', sampling, n: 2 }

interface Answer {
  readonly tokens: readonly (readonly number[])[]
  readonly text: readonly string[]
}

describe('a request outlives its router', function () {
  this.timeout(60_000)
  let nats: TestNats
  let cluster: TestCluster
  let quiet: Answer

  before(async () => {
    nats = await startNatsForTest()
    cluster = await startTestCluster({ nats: nats.url, routers: 3 })
    quiet = await stream(cluster.routers.slice(0, 1).map(({ grpc }) => grpc))
  })
  after(async () => {
    await cluster.stop()
    await nats.stop()
  })

  /** Streams the request; `meanwhile` is called once, after so many tokens. */
  async function stream(
    address: readonly string[],
    { requestId, after = 10, meanwhile = () => Promise.resolve() }: Partial<Meanwhile> = {},
  ): Promise<Answer> {
    const client = new BanyanClient({ address, maxAttempts: 1 })
    const events: GenerateEvent[] = []
    let isCalled = false
    try {
      const call = { ...request, ...(requestId !== undefined && { requestId }) }
      for await (const event of client.generate(call, { deadlineMs: 40_000 })) {
        events.push(event)
        if (numTokens(events) < after || isCalled) continue
        isCalled = true
        await meanwhile()
      }
    } finally {
      client.close()
    }
    return answerOf(events)
  }

  interface Meanwhile {
    readonly requestId: string
    readonly after: number
    readonly meanwhile: () => Promise<void>
  }

  const numTokens = (events: readonly GenerateEvent[]): number =>
    events.reduce((sum, event) => sum + (event.type === 'chunk' ? event.tokenIds.length : 0), 0)

  function answerOf(events: readonly GenerateEvent[]): Answer {
    const chunks = events.filter((event) => event.type === 'chunk')
    const ends = events.filter((event) => event.type === 'finished').map(({ choice }) => choice)
    assert.deepEqual([...ends].sort(), [0, 1], 'one end per choice')
    const of = (choice: number) => chunks.filter((chunk) => chunk.choice === choice)
    return {
      tokens: [0, 1].map((choice) => of(choice).flatMap(({ tokenIds }) => [...tokenIds])),
      text: [0, 1].map((choice) =>
        of(choice)
          .map(({ text }) => text)
          .join(''),
      ),
    }
  }

  const grpc = (index: number): string => cluster.routers[index]?.grpc ?? assert.fail(`router ${index}`)
  const http = (index: number): string => cluster.routers[index]?.http ?? assert.fail(`router ${index}`)

  it('one that leaves: the SDK goes on at the next', async () => {
    const answer = await stream([grpc(2), grpc(1)], {
      meanwhile: () => cluster.routers[2]?.stop() ?? Promise.resolve(),
    })
    assert.deepEqual(answer, quiet)
  })

  it('the same id at another router joins the request that runs', async () => {
    const requestId = 'joined'
    let other: Promise<Answer> | undefined
    const first = stream([grpc(0)], {
      requestId,
      meanwhile: async () => {
        other = stream([grpc(1)], { requestId })
      },
    })
    assert.deepEqual([await first, await other], [quiet, quiet])
    const state = (await (await fetch(`${http(1)}/v1/requests/${requestId}`)).json()) as { state: string } // documented
    assert.equal(state.state, 'finished')
    const accepted = await accepts(1, requestId)
    assert.equal(accepted, quiet.tokens[0]?.length, 'a later reader gets the whole answer')
  })

  /** Tokens of choice 0 that a router streams over HTTP from an offset. */
  async function accepts(router: number, id: string, offset = 0): Promise<number> {
    const headers = { accept: 'text/event-stream' }
    const response = await fetch(`${http(router)}/v1/requests/${id}?offset=${offset}`, { headers })
    const lines = (await response.text()).split('\n\n').filter((line) => line.startsWith('data: {'))
    const chunks = lines.map(
      (line) => JSON.parse(line.slice(6)) as { choices: { index: number; token_ids?: number[] }[] },
    ) // documented
    return chunks
      .flatMap(({ choices }) => choices.filter(({ index }) => index === 0))
      .flatMap((choice) => choice.token_ids ?? []).length
  }

  it('a client that comes back gets the rest, from any router', async () => {
    const requestId = 'left'
    const client = new BanyanClient({ address: grpc(0) })
    const events: GenerateEvent[] = []
    for await (const event of client.generate({ ...request, requestId })) {
      events.push(event)
      if (numTokens(events) >= 10) break // the client leaves: its request is let go
    }
    client.close()
    const idle = async (): Promise<boolean> => {
      const status = (await (await fetch(`${http(0)}/cluster`)).json()) as { requests: { running: number } } // documented
      return status.requests.running === 0
    }
    await eventually(idle, 'nothing runs for nobody')
    const whole = quiet.tokens[0]?.length ?? 0
    assert.equal(await accepts(1, requestId, 7), whole - 7)
    assert.deepEqual(await stream([grpc(0)], { requestId }), quiet)
  })

  it('a router that drains still goes on with what it ran, for a client whose connection broke', async () => {
    const [host = '', port] = grpc(1).split(':')
    const proxy = await startTcpProxy({ target: { host, port: Number(port) }, random: Math.random })
    let restarted: Promise<void> | undefined
    const answer = await stream([`127.0.0.1:${proxy.port}`], {
      meanwhile: async () => {
        restarted = cluster.restartRouter(1) // which drains it first
        proxy.inject({ kind: 'cut' })
        proxy.heal()
      },
    })
    await restarted
    await proxy.close()
    assert.deepEqual(answer, quiet)
  })

  it('that its client left is not run for who only looks, and ends for good when it is cancelled', async () => {
    const requestId = 'looked-at'
    const client = new BanyanClient({ address: grpc(0) })
    let numSeen = 0
    for await (const event of client.generate({ ...request, requestId })) {
      if (event.type === 'chunk' && (numSeen += event.tokenIds.length) >= 10) break
    }
    client.close()
    const url = `${http(0)}/v1/requests/${requestId}`
    const stateOf = async (from: string): Promise<string> =>
      ((await (await fetch(from)).json()) as { state: string }).state // documented
    await eventually(async () => (await stateOf(url)) === 'cancelled', 'it is let go')
    const status = (await (await fetch(`${http(0)}/cluster`)).json()) as { requests: { running: number } } // documented
    assert.equal(status.requests.running, 0)
    assert.deepEqual(await (await fetch(url, { method: 'DELETE' })).json(), { id: requestId, cancelled: false })
    const rest = await fetch(`${http(1)}/v1/requests/${requestId}`, { headers: { accept: 'text/event-stream' } })
    assert.equal(rest.status, 499)
    await rest.body?.cancel()
  })

  it('ends everywhere when one router is told to cancel it', async () => {
    const requestId = 'cancelled'
    const cancel = async (): Promise<void> => {
      const response = await fetch(`${http(1)}/v1/requests/${requestId}`, { method: 'DELETE' })
      assert.deepEqual(await response.json(), { id: requestId, cancelled: true })
    }
    const isCancelled = (error: unknown): boolean => error instanceof BanyanError && error.code === 'cancelled'
    await assert.rejects(stream([grpc(0)], { requestId, meanwhile: cancel }), isCancelled)
    const response = await fetch(`${http(1)}/v1/requests/${requestId}`)
    assert.equal(((await response.json()) as { state: string }).state, 'cancelled')
  })

  it('is refused with another body, by any router', async () => {
    const client = new BanyanClient({ address: grpc(1), maxAttempts: 1 })
    await assert.rejects(
      client.complete({ ...request, requestId: 'joined', n: 1 }),
      (error) => error instanceof BanyanError && error.code === 'already_exists',
    )
    client.close()
  })

  it('nobody knows it: not found', async () => {
    assert.equal((await fetch(`${http(1)}/v1/requests/unheard-of`)).status, 404)
    const headers = { accept: 'text/event-stream' }
    assert.equal((await fetch(`${http(1)}/v1/requests/unheard-of`, { headers })).status, 404)
  })
})
