import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHttpDoor } from '../../../cli/generation/http-door.js'
import type { GenerationEvent } from '../../../cli/generation/generation.js'
import type { ClusterError } from '../../../lib/errors.js'

const drain = async (events: AsyncIterable<GenerationEvent>): Promise<GenerationEvent[]> => {
  const all: GenerationEvent[] = []
  for await (const event of events) all.push(event)
  return all
}

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
    assert.deepEqual(Object.keys(finished?.stats ?? {}), ['ttftMs', 'tpotMs', 'tokensPerSecond']) // what is not told is absent
  })

  it('takes the stats of a server that tells them', async () => {
    const stats = {
      ttft_ms: 9,
      tpot_ms: 2,
      tokens_per_second: 40,
      steps: 3,
      drafted: 6,
      accepted: 4,
      acceptance_length: 7 / 3,
      draft_steps: 2,
      offered: 8,
      draft_ms: 1,
      mean_price: 0.5,
    }
    const last = { index: 0, text: '', token_ids: [], finish_reason: 'stop', stats }
    status = 200
    answer = [event({ choices: [{ index: 0, text: 'a', token_ids: [4] }] }), event({ choices: [last] }), END]
    const finished = (await generate()).find((one) => one.type === 'finished')
    assert.deepEqual([finished?.stats.ttftMs, finished?.stats.steps, finished?.stats.accepted], [9, 3, 4])
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
