// What a cluster writes about its requests is what their clients saw: records equal the answers, spans of all services
// hang together under the request, and nothing says more than it was allowed to.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashTokens, requestRecordSchema, type RequestRecord } from '../../lib/traffic/request-record.js'
import { BanyanClient } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { attributeOf, readSpans, type FileSpan } from '../helpers/spans.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'

const CALLER = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const PROMPT = 'export interface Banyan {\n  readonly '
const STOP = 'neverintheanswer'

interface Choice {
  readonly token_ids: readonly number[]
  readonly text: string
  readonly finish_reason: string
}

describe('a trace folder', function () {
  this.timeout(60_000)
  let folder = ''
  let nats: TestNats
  let cluster: TestCluster | undefined
  before(async () => {
    nats = await startNatsForTest()
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-trace-'))
  })
  afterEach(async () => {
    await stop()
    rmSync(folder, { recursive: true, force: true })
  })
  after(() => nats.stop())

  const start = async (shape: ClusterShape): Promise<TestCluster> =>
    (cluster = await startTestCluster({ traceDir: folder, spansTo: folder, ...shape }))
  const stop = async (): Promise<void> => {
    const running = cluster
    cluster = undefined
    await running?.stop()
  }
  const records = (): RequestRecord[] =>
    readdirSync(folder)
      .filter((file) => file.startsWith('requests-'))
      .flatMap((file) => readFileSync(join(folder, file), 'utf8').split('\n').filter(Boolean))
      .map((line) => requestRecordSchema.parse(JSON.parse(line)))
  const recordOf = (id: string): RequestRecord => {
    const [record, ...others] = records().filter((one) => one.id === id)
    assert.ok(record !== undefined && others.length === 0, `one record of ${id}`)
    return record
  }
  const post = (url: string, body: object, headers: Record<string, string> = {}, init: RequestInit = {}) =>
    fetch(`${url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(body), ...init })
  const complete = async (...args: Parameters<typeof post>) => {
    const response = await post(...args)
    // The door's own shape, which other tests check.
    const answer = (await response.json()) as { choices: Choice[]; seed: number; system_fingerprint: string }
    assert.equal(response.status, 200)
    return answer
  }

  it('has a record of every request with what its client got, and one tree of spans for each', async () => {
    const { router } = await start({ nats: nats.url })
    const headers = {
      'x-request-id': 'two',
      'x-session-id': 'Jane Doe',
      traceparent: `00-${CALLER.traceId}-${CALLER.spanId}-01`,
    }
    const body = { prompt: PROMPT, n: 2, max_tokens: 24, temperature: 0.9, stop: [STOP], return_token_ids: true }
    const two = await complete(router.http, body, headers)
    const client = new BanyanClient({ address: router.grpc })
    const sampling = { maxTokens: 8, temperature: 0 }
    const one = await client.complete({ requestId: 'one', tokens: [40, 41, 42], sampling })
    client.close()
    const endless = { prompt: PROMPT, max_tokens: 900, ignore_eos: true, stream: true }
    const cancelled = await post(router.http, endless, { 'x-request-id': 'cancelled' })
    const reader = cancelled.body?.getReader() ?? assert.fail()
    await reader.read()
    await fetch(`${router.http}/v1/requests/cancelled`, { method: 'DELETE' })
    while (!(await reader.read()).done);
    await eventually(() => records().length === 3, 'all are recorded')
    await stop()

    const { params, prompt, choices, session, traceId, fingerprint, outcome } = recordOf('two')
    assert.deepEqual([outcome, fingerprint, traceId], ['finished', two.system_fingerprint, CALLER.traceId])
    assert.match(session ?? '', /^[0-9a-f]{16}$/)
    assert.deepEqual(
      [params.seed, params.n, params.maxTokens, params.temperature, params.stop],
      [String(two.seed), 2, 24, 0.9, [STOP]],
    )
    assert.deepEqual(
      choices.map(({ ids, finishReason }) => [ids, finishReason]),
      two.choices.map((choice) => [choice.token_ids, choice.finish_reason]),
    )
    assert.equal(prompt.ids?.length, prompt.numTokens)
    for (const { chunks, numTokens, hash, ids = [] } of choices) {
      assert.deepEqual([chunks.reduce((sum, [, count]) => sum + count, 0), hashTokens(ids)], [numTokens, hash])
    }
    assert.deepEqual(recordOf('one').choices[0]?.ids, one.tokenIds)
    assert.equal(recordOf('cancelled').outcome, 'cancelled')

    const spans = readSpans(folder)
    checkTree(spans, CALLER.traceId, CALLER.spanId)
    checkTree(spans, recordOf('one').traceId, undefined)
    assert.ok(!JSON.stringify(spans).includes('Banyan {') && !JSON.stringify(spans).includes(STOP), 'no text')
    const request = spans.find((span) => attributeOf(span, 'gen_ai.response.id') === 'two')
    assert.deepEqual(
      [attributeOf(request, 'gen_ai.usage.output_tokens'), attributeOf(request, 'gen_ai.request.max_tokens')],
      [String(two.choices.reduce((sum, choice) => sum + choice.token_ids.length, 0)), '24'],
    )
    assert.ok(Number(attributeOf(request, 'gen_ai.latency.time_to_first_token')) > 0)
    assert.ok(Number(attributeOf(request, 'gen_ai.latency.time_in_queue')) >= 0)
  })

  /** Every span of the trace has its parent in it, up to the caller's; every service and every hop took part. */
  function checkTree(all: readonly FileSpan[], traceId: string | undefined, caller: string | undefined): void {
    const spans = all.filter((span) => span.traceId === traceId)
    const byId = new Map(spans.map((span) => [span.spanId, span]))
    const parents = new Set<string>()
    for (const span of spans) {
      const parent = byId.get(span.parentSpanId ?? '')
      if (parent === undefined) assert.equal(span.parentSpanId, caller, `${span.name} has no parent`)
      parents.add(`${parent?.name ?? ''} > ${span.name}`)
    }
    assert.deepEqual([...parents].sort(), [
      ' > text_completion demo',
      'attention.layer > expert.compute',
      'attention.step > attention.layer',
      'router.step > attention.step',
      'router.step > draft.propose',
      'text_completion demo > router.step',
    ])
    const services = ['attention-0', 'drafter-0', 'expert-worker-0', 'expert-worker-1', 'router-0']
    assert.deepEqual([...new Set(spans.map(({ service }) => service))].sort(), services)
  }

  it('has the whole tree of a slow request that no sampler chose', async () => {
    const { router } = await start({ neighbours: false, traceSlowMs: 1 })
    await complete(router.http, { prompt: PROMPT, max_tokens: 12, ignore_eos: true }, { 'x-request-id': 'slow' })
    const told = (): boolean => ['expert.compute', 'draft.propose'].every((name) => names().has(name))
    const names = (): Set<string> => new Set(readSpans(folder).map((span) => span.name))
    await eventually(told, 'the other services were told')
    await stop()
    checkTree(readSpans(folder), recordOf('slow').traceId, undefined)
  })

  it('leads from each of several requests to the steps that served it', async () => {
    const { router } = await start({ neighbours: false })
    const body = { prompt: PROMPT, max_tokens: 40, ignore_eos: true, temperature: 0 }
    await Promise.all(['a', 'b', 'c'].map((id) => complete(router.http, body, { 'x-request-id': id })))
    await stop()
    const steps = readSpans(folder).filter(({ name }) => name === 'router.step')
    for (const id of ['a', 'b', 'c']) {
      const { traceId, choices } = recordOf(id)
      const mine = steps.filter(
        (step) => step.traceId === traceId || step.links.some((link) => link.traceId === traceId),
      )
      assert.ok(mine.length >= (choices[0]?.steps ?? Infinity), `${mine.length} steps of ${id}`)
    }
    assert.ok(
      steps.some(({ links }) => links.length > 0),
      'some step served several',
    )
  })

  it('says nothing of prompts and answers with hashes alone, nor does the live feed; who left is recorded', async () => {
    const { router } = await start({ traceContent: 'hash' })
    const feed = await fetch(`${router.http}/cluster/records?content=text`)
    const heard = feed.body?.pipeThrough(new TextDecoderStream()).getReader() ?? assert.fail()
    const prompt = [231, 17, 198, 44, 230, 19]
    const body = { prompt, max_tokens: 24, temperature: 0, ignore_eos: true, stop: [STOP], return_token_ids: true }
    const answer = await complete(router.http, body)
    const { value: begun = '' } = await heard.read() // at once
    const abort = new AbortController()
    const left = await post(router.http, { ...body, stream: true, max_tokens: 900 }, {}, { signal: abort.signal })
    await left.body?.getReader().read()
    abort.abort()
    await eventually(() => records().some(({ outcome }) => outcome === 'cancelled'), 'the leaving is recorded')
    await stop()
    let live = begun
    for (let next = await heard.read(); !next.done; next = await heard.read()) live += next.value

    const [first, second, ...others] = records()
    assert.deepEqual(others, [])
    const told = live.trim().split('\n')
    assert.deepEqual(
      told.map((line): unknown => JSON.parse(line)),
      [first, second],
    )
    assert.deepEqual(
      [first?.content, first?.choices[0]?.hash],
      ['hash', hashTokens(answer.choices[0]?.token_ids ?? [])],
    )
    const files = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'))
    for (const text of files) {
      assert.ok(!text.includes(STOP))
      const runs = [...text.matchAll(/\[[^[\]]*\]/g)].map(([list]) => list.replace(/[^\d,]+/g, ''))
      for (const secret of [prompt, answer.choices[0]?.token_ids ?? []]) {
        for (let at = 0; at + 3 <= secret.length; at++) {
          const part = secret.slice(at, at + 3).join(',')
          assert.deepEqual(
            runs.filter((list) => `,${list},`.includes(`,${part},`)),
            [],
          )
        }
      }
    }
  })
})
