// Traces in other formats and back.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashBlocks, requestRecordSchema, type RequestRecord } from '../../../lib/traffic/request-record.js'
import { convertTrace, TARGETS, type Converted } from '../../../replay/src/convert-trace.js'
import { scanFiles } from '../../../replay/src/spans/scan.js'
import { readTrace } from '../../../replay/src/read-trace.js'
import type { Trace, TraceRequest } from '../../../replay/src/trace.js'
import { repositoryRoot } from '../../helpers/paths.js'

const sample = (name: string): string => join(repositoryRoot, 'test/fixtures/traces', name)
const blocksOf = ({ prompt }: TraceRequest): readonly string[] =>
  prompt.kind === 'tokens' ? hashBlocks(prompt.tokens) : prompt.kind === 'blocks' ? prompt.blocks : []
const lengthOf = ({ prompt }: TraceRequest): number =>
  prompt.kind === 'tokens' ? prompt.tokens.length : prompt.kind === 'blocks' ? prompt.numTokens : -1

describe('converting a trace', () => {
  let folder = ''
  let numFiles = 0
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-convert-'))))
  after(() => rmSync(folder, { recursive: true }))

  const convert = async (path: string, to: string): Promise<Converted & { readonly file: string }> => {
    const converted = await convertTrace(path, to)
    const file = join(folder, `${numFiles++}.${to}`)
    writeFileSync(file, [...converted.lines].map((line) => `${line}\n`).join(''))
    return { ...converted, file }
  }
  const through = async (path: string, ...formats: readonly string[]): Promise<Trace> => {
    let file = path
    for (const to of formats) ({ file } = await convert(file, to))
    return readTrace(file)
  }
  const essence = ({ requests }: Trace): unknown =>
    requests.map((request) => [
      request.arrivalMs,
      lengthOf(request),
      request.outputTokens,
      request.session,
      blocksOf(request),
    ])

  it('keeps arrivals, lengths, block hashes and sessions of ours through Mooncake', async () => {
    const ours = await readTrace(sample('banyan'))
    const back = await through(sample('banyan'), 'mooncake', 'banyan')
    assert.equal(back.format, 'banyan')
    assert.deepEqual(essence(back), essence(ours))
  })

  it('keeps everything of ours through OTLP: prompts, sampling, seeds, answers', async () => {
    const ours = await readTrace(sample('banyan'))
    const back = await through(sample('banyan'), 'otlp', 'banyan')
    assert.equal(back.format, 'banyan')
    assert.deepEqual(back.requests, ours.requests)
    assert.equal(back.startUnixMs, ours.startUnixMs)
  })

  it('keeps every parameter of ours through OTLP', async () => {
    const [first] = (await readTrace(sample('banyan'), { keepsRecords: true })).requests
    const params: Required<RequestRecord['params']> = {
      temperature: 0.7,
      topP: 1,
      topK: 40,
      minP: 1e-7,
      repetitionPenalty: 1.05,
      presencePenalty: -2,
      frequencyPenalty: 0.5,
      logitBias: { 7: -100, 151643: 0.25 },
      maxTokens: 17,
      minTokens: 3,
      stop: ['\n\n', 'é\u0000"'],
      stopTokenIds: [0, 4294967295],
      ignoreEos: true,
      includeStop: true,
      seed: '18446744073709551615',
      n: 3,
      logprobs: 0,
    }
    for (const given of [params, { ...params, logprobs: 20, seed: '9223372036854775808', stop: [] }]) {
      const file = join(folder, 'parameters.jsonl')
      writeFileSync(file, `${JSON.stringify({ ...first?.record, params: given })}\n`)
      const back = await convert((await convert(file, 'otlp')).file, 'banyan')
      assert.deepEqual(requestRecordSchema.parse(JSON.parse(readFileSync(back.file, 'utf8'))).params, given)
    }
  })

  it('keeps which of the choices ended, and the microsecond of an arrival', async () => {
    const [first] = (await readTrace(sample('banyan'), { keepsRecords: true })).requests
    const record = first?.record ?? assert.fail()
    const { finishReason, ...open } = record.choices[0] ?? assert.fail()
    const choices = [open, { ...open, finishReason }]
    const arrivals = [1_700_000_000_001.003, 1_700_000_000_004.555]
    const file = join(folder, 'choices.jsonl')
    const lines = arrivals.map((arrivalUnixMs, i) => ({ ...record, id: `r${i}`, arrivalUnixMs, choices }))
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const back = await convert((await convert(file, 'otlp')).file, 'banyan')
    const records = readFileSync(back.file, 'utf8').trim().split('\n')
    const found = records.map((line) => requestRecordSchema.parse(JSON.parse(line)))
    assert.deepEqual(
      found.map((one) => one.arrivalUnixMs),
      arrivals,
    )
    assert.deepEqual(
      found[0]?.choices.map((one) => one.finishReason),
      [undefined, finishReason],
    )
  })

  it('passes our own records on as they are', async () => {
    const { file, losses } = await convert(sample('banyan'), 'banyan')
    const recordsOf = async (path: string): Promise<readonly RequestRecord[]> => {
      const found: RequestRecord[] = []
      for await (const { records } of scanFiles(path)) found.push(...records)
      return found.sort((a, b) => a.arrivalUnixMs - b.arrivalUnixMs)
    }
    const [records, back] = [await recordsOf(sample('banyan')), await recordsOf(file)]
    assert.ok(records.some(({ choices }) => choices.some(({ chunks, steps }) => chunks.length > 0 && steps > 0)))
    assert.deepEqual([back, losses], [records, []])
  })

  it('keeps how a request ended, why, and what was cached through OTLP; names what is lost', async () => {
    const [first] = (await readTrace(sample('banyan'), { keepsRecords: true })).requests
    const endings = [
      { outcome: 'failed', error: { code: 'unavailable', message: 'no worker holds shard 3' } },
      { outcome: 'cancelled', error: { code: 'cancelled', message: 'the client left', reason: 'CLIENT_LEFT' } },
      { outcome: 'cancelled' },
    ]
    for (const [i, ending] of endings.entries()) {
      const file = join(folder, `ending-${i}.jsonl`)
      const prompt = { ...first?.record?.prompt, cachedTokens: 2 }
      writeFileSync(file, `${JSON.stringify({ ...first?.record, prompt, ...ending })}\n`)
      const spans = await convert(file, 'otlp')
      assert.ok(spans.losses.includes('times of tokens') && spans.losses.includes('steps and drafts'))
      const text = readFileSync((await convert(spans.file, 'banyan')).file, 'utf8')
      const { outcome, error, prompt: back } = requestRecordSchema.parse(JSON.parse(text))
      assert.deepEqual({ outcome, ...(error && { error }) }, ending)
      assert.equal(back.cachedTokens, 2)
    }
  })

  it('keeps Mooncake through ours, through OTLP and through Dynamo', async () => {
    const first = await readTrace(sample('mooncake.jsonl'))
    for (const way of [['banyan'], ['otlp'], ['dynamo'], ['otlp', 'banyan', 'dynamo']])
      assert.deepEqual(essence(await through(sample('mooncake.jsonl'), ...way, 'mooncake')), essence(first), way.join())
  })

  it('keeps hashes of 64 bits of Dynamo through ours', async () => {
    const first = await readTrace(sample('dynamo.jsonl.gz'))
    assert.deepEqual(essence(await through(sample('dynamo.jsonl.gz'), 'banyan', 'dynamo')), essence(first))
  })

  it('joins small blocks into Mooncake’s: equal prefixes stay equal, others differ', async () => {
    const row = (timestamp: number, ids: readonly number[]): string =>
      JSON.stringify({ chat_id: timestamp, timestamp, input_length: ids.length * 16, output_length: 1, hash_ids: ids })
    const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)
    const file = join(folder, 'bailian.jsonl')
    const shared = range(0, 40)
    writeFileSync(file, [row(0, [...shared, 1000]), row(1, [...shared, 2000]), row(2, shared), ''].join('\n'))
    const { requests } = await through(file, 'mooncake')
    const [a = [], b = [], c = []] = requests.map(blocksOf)
    assert.deepEqual([a.length, b.length, c.length], [2, 2, 2])
    assert.equal(a[0], b[0])
    assert.equal(a[0], c[0])
    assert.equal(new Set([a[1], b[1], c[1]]).size, 3)
  })

  it('keeps texts, messages and delays where the format has them', async () => {
    const first = await readTrace(sample('mooncake-aiperf.jsonl'))
    const back = await through(sample('mooncake-aiperf.jsonl'), 'mooncake')
    assert.deepEqual(back.requests, first.requests)
    const texts = await through(sample('sharegpt.json'), 'otlp')
    assert.deepEqual(
      texts.requests.map(({ prompt }) => prompt),
      (await readTrace(sample('sharegpt.json'))).requests.map(({ prompt }) => prompt),
    )
    assert.equal((await through(sample('vllm-custom.jsonl'), 'mooncake')).isUntimed, true)
  })

  it('names what a format cannot hold', async () => {
    const { losses } = await convert(sample('banyan'), 'mooncake')
    for (const part of ['seeds', 'ids of prompt tokens', 'sampling parameters', 'recorded answers', 'models', 'dates'])
      assert.ok(losses.includes(part), part)
    assert.deepEqual((await convert(sample('mooncake.jsonl'), 'mooncake')).losses, [])
    assert.match((await convert(sample('sharegpt.json'), 'dynamo')).losses.join(), /31 requests with texts/)
  })

  it('writes an answer of nothing as one token in Mooncake: AIPerf refuses a trace with 0', async () => {
    const file = join(folder, 'silent.jsonl')
    writeFileSync(file, '{"timestamp": 0, "input_length": 5, "output_length": 0}\n')
    assert.deepEqual((await convert(file, 'mooncake')).losses, ['answers of 0 tokens (1 is written)'])
    const [request] = (await through(file, 'mooncake')).requests
    assert.equal(request?.outputTokens, 1)
  })

  it('writes every sample in every format, readable again', async () => {
    const names = [
      'azure-2023.csv',
      'azure-2024.csv',
      'burstgpt.csv',
      'bailian.jsonl',
      'otlp.jsonl',
      'inference-perf-session.json',
    ]
    for (const name of names)
      for (const to of TARGETS.filter((target) => target !== 'chrome' && target !== 'dynamo')) {
        const first = await readTrace(sample(name))
        const back = await through(sample(name), to)
        assert.equal(back.format, to)
        assert.deepEqual(
          back.requests.map(({ arrivalMs }) => arrivalMs),
          first.requests.map(({ arrivalMs }) => arrivalMs),
          `${name} ${to}`,
        )
      }
  })

  it('refuses a format that it does not write', async () => {
    await assert.rejects(
      convertTrace(sample('mooncake.jsonl'), 'azure-2023'),
      /want one of mooncake, otlp, banyan, dynamo, chrome, found "azure-2023"/,
    )
  })

  interface ChromeEvent {
    readonly ph: string
    readonly name: string
    readonly pid: number
    readonly tid: number
    readonly ts: number
    readonly dur: number
    readonly args: Record<string, unknown>
  }
  const chromeOf = async (path: string): Promise<readonly ChromeEvent[]> => {
    const { lines } = await convertTrace(path, 'chrome')
    return (JSON.parse([...lines].join('\n')) as { traceEvents: ChromeEvent[] }).traceEvents
  }

  it('writes Chrome’s trace events: processes, requests, spans; slices of a lane nest', async () => {
    const events = await chromeOf(sample('banyan'))
    const names = events.filter(({ ph }) => ph === 'M').map(({ args }) => args.name)
    assert.deepEqual(names, ['requests', 'router-0'])
    const slices = events.filter(({ ph }) => ph === 'X')
    assert.equal(slices.length, 24 * 3 + 1)
    assert.equal(Math.min(...slices.map(({ ts }) => ts)), 0)
    for (const a of slices)
      for (const b of slices) {
        if (a === b || a.pid !== b.pid || a.tid !== b.tid || b.ts < a.ts) continue
        const [endA, endB] = [a.ts + a.dur, b.ts + b.dur]
        assert.ok(b.ts >= endA || endB <= endA || a.ts === b.ts, `${a.name} and ${b.name} cross`)
      }
  })

  it('writes Chrome’s trace events of spans alone and of plain requests', async () => {
    const spans = await chromeOf(sample('otlp.jsonl'))
    assert.equal(spans.filter(({ ph }) => ph === 'X').length, 60)
    assert.equal(spans.filter(({ ph }) => ph === 's').length, 20)
    assert.equal((await chromeOf(sample('mooncake.jsonl'))).filter(({ ph }) => ph === 'X').length, 30)
  })
})
