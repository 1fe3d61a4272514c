// The replayer against endpoints over real sockets: quick ones, picky ones, and every kind of bad one.

import assert from 'node:assert/strict'
import {
  createHttpCaller,
  createOpenAiClient,
  createPrompts,
  planReplay,
  replay,
  summarise,
  systemClock,
  type Pace,
  type ReplayOptions,
  type Trace,
  type TraceRequest,
} from '../../../replay/src/index.js'
import { freePorts } from '../../helpers/free-ports.js'
import {
  answerBadly,
  answerFast,
  MISBEHAVIOURS,
  startEndpoint,
  type Asked,
  type TestEndpoint,
} from '../../helpers/completion-endpoints.js'
import type { ServerResponse } from 'node:http'

const IMPATIENT = { firstByteMs: 1500, chunkMs: 1500, requestMs: 5000 } // where nothing comes, and nothing is to be waited for

const traceOf = (requests: readonly Partial<TraceRequest>[]): Trace => ({
  format: 'toy',
  files: [],
  skipped: [],
  requests: requests.map((more, i) => ({
    id: `r${i}`,
    arrivalMs: i * 2,
    prompt: { kind: 'tokens', tokens: [1, 2, 3] },
    sampling: {},
    outputTokens: 5,
    ...more,
  })),
})

const repeated = (count: number, more: Partial<TraceRequest> = {}): Trace =>
  traceOf(Array.from({ length: count }, () => more))

const RECORDED: Pace = { kind: 'recorded', speedup: 1 }

async function replayTo(url: string, trace: Trace, more: Partial<ReplayOptions> = {}, pace: Pace = RECORDED) {
  const notices: string[] = []
  const http = createHttpCaller({ clock: systemClock, connectTimeoutMs: 1000 })
  const client = createOpenAiClient({ url, http, model: 'toy', notice: (line) => notices.push(line) })
  const plan = planReplay(trace, { pace })
  try {
    const run = await replay(plan, { client, clock: systemClock, ...more })
    return { run, summary: summarise(run), notices }
  } finally {
    client.close()
  }
}

describe('replay against an endpoint', function () {
  this.timeout(20_000)
  const open: TestEndpoint[] = []
  const start = async (answer: (asked: Asked, response: ServerResponse) => void): Promise<TestEndpoint> => {
    const endpoint = await startEndpoint(answer)
    open.push(endpoint)
    return endpoint
  }
  afterEach(async () => {
    for (const endpoint of open.splice(0)) await endpoint.close()
  })

  it('sends ids, forces recorded lengths, and never the same request id twice', async () => {
    const endpoint = await start(answerFast)
    const { run, summary } = await replayTo(`${endpoint.url}/v1/`, repeated(50))
    assert.deepEqual(
      [summary.figures.request_count?.avg, summary.figures.output_sequence_length?.avg, summary.failures],
      [50, 5, []],
    )
    assert.equal(run.answers[0]?.fingerprint, 'toy')
    assert.deepEqual(run.answers[0]?.choices[0]?.tokenIds, [100, 101, 102, 103, 104])
    const { body, path } = endpoint.asked[0] ?? {}
    assert.equal(path, '/v1/completions')
    assert.deepEqual(
      [body?.prompt, body?.max_tokens, body?.min_tokens, body?.ignore_eos, body?.stream],
      [[1, 2, 3], 5, 5, true, true],
    )
    assert.equal(new Set(endpoint.asked.map(({ requestId }) => requestId)).size, 50)
  })

  it('makes prompts of exact lengths that share what the trace shares', async () => {
    const endpoint = await start(answerFast)
    const blocks = (numTokens: number, ...names: string[]) =>
      ({ prompt: { kind: 'blocks', numTokens, blockTokens: 4, blocks: names } }) as const
    const trace = traceOf([blocks(10, 'a', 'b', 'c'), blocks(9, 'a', 'b', 'd'), blocks(100_000, 'a')])
    const { promptOf } = await createPrompts(trace.requests, { seed: 1n, vocabSize: 50, maxTokens: 2048, form: 'ids' })
    const { summary } = await replayTo(endpoint.url, trace, { promptOf })
    const prompts = endpoint.asked.map(({ body }) => body.prompt as number[]) // ids, as asked for
    assert.deepEqual(prompts.map(({ length }) => length).sort(), [10, 9].sort())
    assert.deepEqual(prompts[0]?.slice(0, 8), prompts[1]?.slice(0, 8))
    assert.notDeepEqual(prompts[0]?.slice(8), prompts[1]?.slice(8))
    assert.deepEqual(
      summary.failures.map(({ kind }) => kind),
      ['too_long'],
    )
  })

  it('counts every misbehaviour by its kind, and ends', async () => {
    const endpoint = await start(answerBadly)
    const bad = MISBEHAVIOURS.map((_, i) => ({ sampling: { seed: BigInt(i) } }))
    const { summary } = await replayTo(endpoint.url, traceOf([...bad, { sampling: { seed: 99n } }]), {
      limits: IMPATIENT,
    })
    const wanted = new Map<string, number>()
    for (const { kind } of MISBEHAVIOURS) wanted.set(kind, (wanted.get(kind) ?? 0) + 1)
    assert.deepEqual(
      Object.fromEntries(summary.failures.map(({ kind, count }) => [kind, count])),
      Object.fromEntries(wanted),
    )
    assert.equal(summary.figures.request_count?.avg, 1)
    const refused = await replayTo(`http://127.0.0.1:${(await freePorts(1))[0]}`, repeated(3))
    assert.deepEqual(
      refused.summary.failures.map(({ kind, count }) => [kind, count]),
      [['connect_refused', 3]],
    )
    const lost = await replayTo('http://no-such-host.invalid', repeated(1))
    assert.deepEqual(
      lost.summary.failures.map(({ kind }) => kind),
      ['connect_failed'],
    )
  })

  it('goes without the fields that a server refuses, and says so once', async () => {
    const known = new Set(['model', 'prompt', 'stream', 'max_tokens', 'seed'])
    const endpoint = await start((asked, response) => {
      const extra = Object.keys(asked.body).find((field) => !known.has(field))
      if (extra === undefined) return answerFast(asked, response)
      response
        .writeHead(400)
        .end(JSON.stringify({ error: { message: `Unrecognized request argument supplied: ${extra}` } }))
    })
    const { summary, notices } = await replayTo(endpoint.url, repeated(20))
    assert.equal(summary.figures.request_count?.avg, 20)
    const told = `${endpoint.url} refuses return_token_ids, ignore_eos, min_tokens, stream_options: sending without`
    assert.deepEqual([notices, summary.notes[0], summary.notes.length], [[told], told, 2]) // and tokens are counted by chunks
  })

  it('asks for one token where none was recorded, not for as many as the endpoint likes', async () => {
    const endpoint = await start(answerFast)
    const { summary } = await replayTo(endpoint.url, traceOf([{ outputTokens: 0 }, {}]))
    assert.deepEqual(endpoint.asked.map(({ body }) => body.max_tokens).sort(), [1, 5])
    assert.deepEqual(summary.notes, ['1 request without output in the trace: one token is asked for'])
    assert.equal(summary.figures.osl_mismatch_count?.avg, 0)
  })

  it('keeps what an endpoint says short, and nothing in it that steers a terminal', async () => {
    const endpoint = await start((_, response) => {
      const message = `\u001b]0;owned\u0007\u001b[2Jbusy\u009b\r\n${'x'.repeat(50_000)}`
      response.writeHead(503).end(JSON.stringify({ error: { message } }))
    })
    const { summary, run } = await replayTo(endpoint.url, traceOf([{}]))
    const message = summary.failures[0]?.message ?? ''
    assert.match(message, /^the endpoint answered 503: [ -~]*…$/)
    assert.ok(message.includes('busy') && message.length < 320)
    assert.equal(run.answers[0]?.failure?.message, message)
  })

  it('one refused request changes nothing for the others', async () => {
    const refusals = [
      { message: 'prompt: context length of 100 tokens exceeded', type: 'invalid_request_error' },
      { message: 'want other parameters', type: 'invalid_request_error', code: 'invalid_type' },
      { message: 'this combination is not allowed' },
      { message: 'min_tokens not supported beside this grammar' },
      { message: 'prompt: want a string' },
    ]
    for (const isFirst of [true, false]) {
      const endpoint = await start((asked, response) => {
        const error = refusals[Number(asked.body.seed)]
        if (error === undefined) return answerFast(asked, response)
        response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
      })
      const bad = refusals.map((_, i) => ({ sampling: { seed: BigInt(i) } }))
      const good = Array.from({ length: 4 }, () => ({}))
      const rows = isFirst ? [...bad, ...good] : [...good, ...bad]
      const trace = traceOf(rows.map((row, i) => ({ ...row, arrivalMs: i * 30 })))
      const { summary, notices } = await replayTo(endpoint.url, trace)
      assert.deepEqual([summary.figures.request_count?.avg, notices, summary.notes], [good.length, [], []])
      const { body } = endpoint.asked.findLast((asked) => asked.body.seed === undefined) ?? {}
      assert.deepEqual([body?.prompt, body?.min_tokens, body?.ignore_eos], [[1, 2, 3], 5, true])
    }
  })

  it('one path that is not there does not turn the run to chat', async () => {
    const endpoint = await start((asked, response) =>
      asked.body.seed === 0 ? void response.writeHead(404).end('{"detail": "Not Found"}') : answerFast(asked, response),
    )
    const trace = traceOf([{}, { sampling: { seed: 0n }, arrivalMs: 50 }, { arrivalMs: 100 }])
    const { summary, notices } = await replayTo(endpoint.url, trace)
    assert.deepEqual([summary.figures.request_count?.avg, summary.failures[0]?.kind, notices], [2, 'http_404', []])
    assert.ok(endpoint.asked.every(({ path }) => path === '/v1/completions'))
  })

  it('sends text where ids are not taken, and chat where there are no completions', async () => {
    const detokenizing =
      (answer: (asked: Asked, response: ServerResponse) => void) =>
      (asked: Asked, response: ServerResponse): void =>
        asked.path === '/detokenize'
          ? void response.end(JSON.stringify({ prompt: `text of ${String(asked.body.tokens)}` }))
          : answer(asked, response)
    const noIds = await start(
      detokenizing((asked, response) =>
        typeof asked.body.prompt === 'string'
          ? answerFast(asked, response)
          : void response.writeHead(422).end('{"error": {"message": "prompt: want a string"}}'),
      ),
    )
    const text = await replayTo(noIds.url, repeated(3))
    assert.equal(text.summary.figures.request_count?.avg, 3)
    assert.equal(noIds.asked.at(-1)?.body.prompt, 'text of 1,2,3')
    assert.equal(text.notices.length, 1)

    const chatOnly = await start(
      detokenizing((asked, response) =>
        asked.path === '/v1/chat/completions'
          ? answerFast(asked, response)
          : void response.writeHead(404).end('{"detail": "Not Found"}'),
      ),
    )
    const chat = await replayTo(chatOnly.url, repeated(3))
    assert.equal(chat.summary.figures.request_count?.avg, 3)
    assert.deepEqual(chatOnly.asked.at(-1)?.body.messages, [{ role: 'user', content: 'text of 1,2,3' }])
    assert.equal(chat.notices.length, 1)
  })

  it('measures the same where output is not kept', async () => {
    const endpoint = await start(answerFast)
    const { run, summary } = await replayTo(endpoint.url, traceOf([{ outputTokens: 50 }, {}]), { keepsOutput: false })
    assert.deepEqual(
      [summary.figures.total_osl?.avg, summary.figures.osl_mismatch_count?.avg, summary.notes],
      [55, 0, []],
    )
    const [choice] = run.answers[0]?.choices ?? []
    assert.deepEqual([choice?.text, choice?.tokenIds, choice?.chunks.length], ['', [], 50])
    const times = [...(choice?.chunks.times ?? [])]
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    )
    assert.deepEqual(
      [...(choice?.chunks.counts ?? [])],
      times.map(() => 1),
    )
  })

  it('keeps its connections for the next requests', async () => {
    const sockets = new Set<unknown>()
    const endpoint = await start((asked, response) => {
      sockets.add(response.socket)
      answerFast(asked, response)
    })
    await replayTo(endpoint.url, repeated(30), {}, { kind: 'concurrency', limit: 1 })
    assert.ok(sockets.size < 15, `${sockets.size} connections for 30 requests in a row`)
  })
})
