import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { collectGeneration, type GenerationEvent } from '../../../cli/generation/generation.js'
import { createHttpDoor, requestBody } from '../../../cli/generation/http-door.js'
import { readEvents } from '../../../cli/generation/sse.js'
import type { ClusterError } from '../../../lib/errors.js'

async function* from<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

const drain = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

describe('readEvents', () => {
  it('finds the same events however the bytes are cut', async () => {
    const events = fc.array(
      fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\r\n]/.test(text) && !text.startsWith(' ')),
      { minLength: 1, maxLength: 5 },
    )
    await fc.assert(
      fc.asyncProperty(events, fc.array(fc.nat({ max: 200 }), { maxLength: 6 }), async (wanted, cuts) => {
        const bytes = new TextEncoder().encode(wanted.map((data) => `: note\ndata: ${data}\n\n`).join(''))
        const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length]
        const pieces = places.slice(1).map((end, i) => bytes.subarray(places[i], end))
        assert.deepEqual(await drain(readEvents(from(pieces))), wanted)
      }),
    )
  })
})

describe('collectGeneration', () => {
  const stats = { ttftMs: 5, tpotMs: 2, tokensPerSecond: 10, steps: 4, drafted: 6, accepted: 3, acceptanceLength: 1.75 }
  const usage = { promptTokens: 3, cachedTokens: 0, completionTokens: 2 }
  const chunk = (choice: number, tokenIds: number[], text: string): GenerationEvent => ({
    type: 'chunk',
    choice,
    tokenIds,
    text,
  })
  const end = (choice: number, finishReason: string): GenerationEvent => ({
    type: 'finished',
    choice,
    finishReason,
    usage,
    stats,
  })

  it('puts every chunk into its choice and hands it on at once', async () => {
    const seen: string[] = []
    const events = [
      { type: 'accepted', fingerprint: 'bny-1' } as const,
      chunk(0, [1], 'a'),
      chunk(1, [9], 'x'),
      chunk(0, [2], 'b'),
      end(0, 'length'),
      end(1, 'stop'),
    ]
    const result = await collectGeneration(from(events), ({ text }) => seen.push(text))
    assert.deepEqual(result.choices, [
      { text: 'ab', tokenIds: [1, 2], finishReason: 'length' },
      { text: 'x', tokenIds: [9], finishReason: 'stop' },
    ])
    assert.deepEqual(result.usage, { promptTokens: 3, cachedTokens: 0, completionTokens: 3 })
    assert.equal(result.fingerprint, 'bny-1')
    assert.deepEqual(seen, ['a', 'x', 'b'])
  })

  it('adds up counts over choices and keeps one choice’s figures as they are', async () => {
    const alone = await collectGeneration(from([chunk(0, [1], 'a'), end(0, 'stop')]), () => undefined)
    assert.deepEqual(alone.stats, stats)
    const both = await collectGeneration(
      from([chunk(0, [1], 'a'), chunk(1, [1], 'a'), end(0, 'stop'), end(1, 'stop')]),
      () => undefined,
    )
    assert.deepEqual(
      [both.stats.steps, both.stats.accepted, both.stats.acceptanceLength, both.stats.ttftMs],
      [8, 6, 1.75, 5],
    )
  })
})

describe('requestBody', () => {
  const body = (seed: bigint): unknown =>
    (
      JSON.parse(requestBody('demo', { input: { kind: 'tokens', tokens: [1, 2] }, sampling: { seed }, n: 1 })) as {
        seed: unknown
      }
    ).seed

  it('keeps every bit of a seed', () => {
    assert.equal(body(7n), 7)
    assert.equal(body(2n ** 64n - 1n), '18446744073709551615')
  })
})

describe('createHttpDoor', () => {
  let server: Server
  let answer: string[] = []
  let status = 200
  before(async () => {
    server = createServer((request, response) => {
      if (request.url === '/v1/models') return response.end(JSON.stringify({ data: [{ id: 'demo' }] }))
      response.writeHead(status)
      for (const line of answer) response.write(line)
      return response.end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  const generate = () => {
    const { port } = server.address() as AddressInfo // a TCP server has a port
    const door = createHttpDoor({ url: `http://127.0.0.1:${port}/`, now: () => 0 })
    return drain(
      door.generate({ input: { kind: 'text', text: 'hi' }, sampling: {}, n: 1 }, new AbortController().signal),
    )
  }
  const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
  const END = 'data: [DONE]\n\n'

  it('turns a stream into the events of a generation', async () => {
    status = 200
    answer = [
      event({ system_fingerprint: 'bny-1', choices: [{ index: 0, text: 'a', token_ids: [4], finish_reason: null }] }),
      event({ system_fingerprint: 'bny-1', choices: [{ index: 0, text: '', token_ids: [], finish_reason: 'stop' }] }),
      event({
        system_fingerprint: 'bny-1',
        choices: [],
        usage: { prompt_tokens: 2, completion_tokens: 1, total_tokens: 3 },
      }),
      END,
    ]
    const events = await generate()
    assert.deepEqual(
      events.map(({ type }) => type),
      ['accepted', 'chunk', 'finished'],
    )
    const finished = events.find((one) => one.type === 'finished')
    assert.deepEqual([finished?.finishReason, finished?.usage.promptTokens], ['stop', 2])
  })

  it('throws what the server says in the middle of a stream', async () => {
    status = 200
    answer = [
      event({ choices: [{ index: 0, text: 'a', token_ids: [4] }] }),
      event({ error: { message: 'layer 3, expert 7: no live replica', type: 'server_error', code: 'unavailable' } }),
      END,
    ]
    await assert.rejects(
      generate(),
      (error: ClusterError) => error.code === 'unavailable' && error.message.includes('expert 7'),
    )
  })

  it('does not take a broken stream for a whole answer', async () => {
    status = 200
    answer = [event({ choices: [{ index: 0, text: 'a', token_ids: [4] }] })]
    await assert.rejects(generate(), (error: ClusterError) => error.code === 'unavailable')
  })

  it('gives a refusal its code', async () => {
    status = 429
    answer = [JSON.stringify({ error: { message: 'queue full', type: 'rate_limit_error', code: null } })]
    await assert.rejects(
      generate(),
      (error: ClusterError) => error.code === 'resource_exhausted' && error.message === 'queue full',
    )
  })
})
