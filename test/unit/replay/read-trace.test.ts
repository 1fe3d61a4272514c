// Every format of traces, read from samples that were made by its published schema (`test/fixtures/traces/`).

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { gunzipSync } from 'node:zlib'
import { join } from 'node:path'
import { readTrace } from '../../../replay/src/read-trace.js'
import type { Trace, TraceRequest } from '../../../replay/src/trace.js'
import { repositoryRoot } from '../../helpers/paths.js'

const sample = (name: string): string => join(repositoryRoot, 'test/fixtures/traces', name)
const read = (name: string): Promise<Trace> => readTrace(sample(name))

const rowsOf = (name: string): Record<string, unknown>[] => {
  const bytes = readFileSync(sample(name))
  const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}
const sum = (numbers: readonly unknown[]): number => numbers.reduce<number>((total, value) => total + Number(value), 0)

const promptTokens = ({ prompt }: TraceRequest): number =>
  prompt.kind === 'blocks' ? prompt.numTokens : prompt.kind === 'tokens' ? prompt.tokens.length : Number.NaN

function assertInOrder({ requests }: Trace): void {
  assert.equal(requests[0]?.arrivalMs, 0)
  requests.forEach(({ arrivalMs }, i) => assert.ok(arrivalMs >= (requests[i - 1]?.arrivalMs ?? 0)))
  assert.equal(new Set(requests.map(({ id }) => id)).size, requests.length)
}

describe('reading a trace', () => {
  it('reads Mooncake: milliseconds, 512 tokens per hash', async () => {
    const trace = await read('mooncake.jsonl')
    const rows = rowsOf('mooncake.jsonl')
    assertInOrder(trace)
    assert.equal(trace.format, 'mooncake')
    assert.deepEqual(
      trace.requests.map(({ arrivalMs }) => arrivalMs),
      rows.map(({ timestamp }) => timestamp),
    )
    assert.deepEqual(
      trace.requests.map(promptTokens),
      rows.map((row) => row.input_length),
    )
    assert.deepEqual(
      trace.requests.map(({ outputTokens }) => outputTokens),
      rows.map((row) => row.output_length),
    )
    const ids = trace.requests.map(({ prompt }) =>
      prompt.kind === 'blocks' ? prompt.blocks.map((name) => Number.parseInt(name, 16)) : [],
    )
    assert.deepEqual(
      ids,
      rows.map((row) => row.hash_ids),
    )
    assert.ok(trace.requests.every(({ prompt }) => prompt.kind === 'blocks' && prompt.blockTokens === 512))
  })

  it('reads what AIPerf adds to Mooncake: texts, messages, sessions, delays, ids of 64 bits', async () => {
    const { requests, notices } = await read('mooncake-aiperf.jsonl')
    assert.deepEqual(
      requests.map(({ session, arrivalMs, delayMs }) => [session, arrivalMs, delayMs]),
      [
        ['sess-1', 0, undefined],
        ['sess-2', 40, undefined],
        ['sess-1', 2000, 2000],
        ['sess-2', 2500, undefined],
        ['sess-3', 2600, undefined],
        ['sess-3', 2700, 100],
        [undefined, 3000, undefined],
      ],
    )
    assert.deepEqual(requests[0]?.prompt, { kind: 'text', text: 'The trees of the forest' })
    assert.deepEqual(requests[3]?.prompt, {
      kind: 'chat',
      messages: [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'Hi!' },
        { role: 'user', content: 'How are you?' },
      ],
    })
    const contents = (i: number): string[] => {
      const prompt = requests[i]?.prompt
      return prompt?.kind === 'chat' ? prompt.messages.map(({ content }) => content) : []
    }
    assert.deepEqual(contents(5), ['Be brief.', 'One', 'Two'])
    assert.match(notices?.join() ?? '', /2 requests with only what is new/)
    assert.deepEqual(requests[6]?.prompt, {
      kind: 'blocks',
      numTokens: 1025,
      blockTokens: 512,
      blocks: ['0000000000000007', '0000000000000008', 'ffffffffffffffff'],
    })
  })

  it('reads Azure 2023 and 2024, told apart by their times', async () => {
    const [old, recent] = [await read('azure-2023.csv'), await read('azure-2024.csv')]
    assert.deepEqual([old.format, recent.format], ['azure-2023', 'azure-2024'])
    assert.equal(old.startUnixMs, Date.parse('2023-11-16T18:17:03.979Z') + 0.96)
    assert.equal(recent.startUnixMs, Date.parse('2024-05-10T00:00:00Z'))
    for (const [name, trace] of [
      ['azure-2023.csv', old],
      ['azure-2024.csv', recent],
    ] as const) {
      const rows = readFileSync(sample(name), 'utf8')
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.split(','))
      assertInOrder(trace)
      assert.equal(sum(trace.requests.map(promptTokens)), sum(rows.map(([, context]) => context)))
      assert.equal(
        sum(trace.requests.map(({ outputTokens }) => outputTokens)),
        sum(rows.map(([, , generated]) => generated)),
      )
    }
    const second = readFileSync(sample('azure-2023.csv'), 'utf8').split('\n')[2]?.split(',')[0] ?? ''
    const [whole = '', fraction = ''] = second.split('.')
    const secondMs = Date.parse(`${whole.replace(' ', 'T')}Z`) + Number(`0.${fraction}`) * 1000
    const readMs = (old.startUnixMs ?? 0) + (old.requests[1]?.arrivalMs ?? 0)
    assert.ok(Math.abs(readMs - secondMs) < 0.01, `want ${secondMs}, got ${readMs}`)
  })

  it('reads BurstGPT: failed requests are kept out and counted, sessions wait as they did', async () => {
    const trace = await read('burstgpt.csv')
    assertInOrder(trace)
    assert.equal(trace.requests.length, 28)
    assert.deepEqual(trace.notices, ['2 failed requests (0 response tokens) were left out'])
    const { requests } = await read('burstgpt-sessions.csv')
    assert.deepEqual(
      requests.map(({ session, arrivalMs, delayMs }) => [session, arrivalMs, delayMs]),
      [
        ['a1', 0, undefined],
        ['b2', 2000, undefined],
        ['a1', 10_500, 8000],
        [undefined, 10_500, undefined],
        ['a1', 12_000, 0],
      ],
    )
  })

  it('reads columns in any order, quoted, with a byte order mark and Windows’ line ends', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-columns-'))
    const given = async (text: string): Promise<Trace> => {
      writeFileSync(join(folder, 'trace'), text)
      return readTrace(join(folder, 'trace'))
    }
    const essence = ({ format, requests }: Trace): unknown[] => [
      format,
      ...requests.map((request) => [request.arrivalMs, promptTokens(request), request.outputTokens]),
    ]
    try {
      const azure = await given(
        '\ufeff"GeneratedTokens","TIMESTAMP","ContextTokens"\r\n"44","2023-11-16 18:15:46.6805900","374"\r\n' +
          '5,2023-11-16 18:15:47,396\r\n',
      )
      assert.deepEqual(essence(azure), ['azure-2023', [0, 374, 44], [319.41, 396, 5]])
      const burst = await given(
        '\ufeffModel,Timestamp,Response tokens,Request tokens,Log Type\r\n' +
          '"ChatGPT",5,18,472,"Conversation log"\r\nGPT-4,6,,10,API log\r\nGPT-4,7,0,10,API log\r\nGPT-4,8.5,2.0,10,API log\r\n',
      )
      assert.deepEqual(essence(burst), ['burstgpt', [0, 472, 18], [3500, 10, 2]])
      assert.match(burst.notices?.join() ?? '', /^2 failed requests/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('reads Bailian: seconds, 16 tokens per hash, a session is the chain of chats', async () => {
    const trace = await read('bailian.jsonl')
    const rows = rowsOf('bailian.jsonl')
    assertInOrder(trace)
    assert.equal(trace.format, 'bailian')
    assert.deepEqual(
      trace.requests.map(promptTokens),
      rows.map((row) => row.input_length),
    )
    const last = rows.at(-1)
    const arrivalMs = Math.round((Number(last?.timestamp) - Number(rows[0]?.timestamp)) * 1e6) / 1000
    assert.equal(trace.requests.at(-1)?.arrivalMs, arrivalMs)
    const sessionOf = new Map(trace.requests.map(({ id, session }) => [id, session]))
    for (const row of rows)
      assert.equal(
        sessionOf.get(String(row.chat_id)),
        row.parent_chat_id === -1 ? String(row.chat_id) : sessionOf.get(String(row.parent_chat_id)),
      )
    const deepest = rows.reduce((most, row) => Math.max(most, Number(row.turn)), 0)
    assert.ok(deepest >= 3, 'the sample has sessions of several turns')
  })

  it('reads ShareGPT: one request per answer, without times', async () => {
    const { requests, isUntimed, notices } = await read('sharegpt.json')
    const talks = JSON.parse(readFileSync(sample('sharegpt.json'), 'utf8')) as {
      id: string
      conversations: { from: string; value: string }[]
    }[]
    assert.equal(isUntimed, true)
    assert.deepEqual(notices, ['1 conversation without an answer to a user was left out'])
    const answers = talks.flatMap(({ conversations }) => conversations.filter(({ from }, i) => from === 'gpt' && i > 0))
    assert.deepEqual(
      requests.map(({ outputText }) => outputText),
      answers.map(({ value }) => value),
    )
    const ofFourth = requests.filter(({ session }) => session === 'c3_0')
    ofFourth.forEach(({ prompt }, turn) => {
      assert.ok(prompt.kind === 'chat')
      assert.deepEqual(
        prompt.messages.map(({ role }) => role),
        ['system', 'user', ...Array.from({ length: turn }, () => ['assistant', 'user']).flat()],
      )
    })
  })

  it('reads what copies of ShareGPT call the same things, in lines or an array', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-talks-'))
    const role = {
      u: { role: 'user', content: 'hi' },
      a: { role: 'assistant', content: [{ type: 'text', text: 'ho' }] },
    }
    const from = { u: { from: 'Human', value: 'hi' }, a: { from: 'gpt', value: 'ho' } }
    const talks = [
      { messages: [role.u, role.a] },
      { items: [from.u, from.a], id: 7 },
      { conversation: [role.u, from.a] },
      { conversations: [from.u, { from: 'gpt', text: 'ho', value: null }] },
    ]
    const lines = talks.map((talk) => JSON.stringify(talk)).join('\r\n')
    try {
      for (const text of [lines, `\ufeff${JSON.stringify(talks)}`]) {
        writeFileSync(join(folder, 'talks'), text)
        const { format, requests } = await readTrace(join(folder, 'talks'))
        assert.equal(format, 'sharegpt')
        assert.deepEqual(
          requests.map(({ prompt, outputText }) => [prompt, outputText]),
          talks.map(() => [{ kind: 'chat', messages: [{ role: 'user', content: 'hi' }] }, 'ho']),
        )
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('reads vLLM’s custom prompts, without times', async () => {
    const { requests, format, isUntimed } = await read('vllm-custom.jsonl')
    assert.deepEqual([format, isUntimed], ['vllm-custom', true])
    const rows = rowsOf('vllm-custom.jsonl')
    assert.deepEqual(
      requests.map(({ prompt }) => (prompt.kind === 'text' ? prompt.text : '')),
      rows.map((row) => row.prompt),
    )
    assert.deepEqual(
      requests.map(({ outputTokens }) => outputTokens),
      rows.map((row) => row.output_tokens),
    )
  })

  it('reads Dynamo’s request traces: gzip of several members, envelopes, tools left aside, hashes of 64 bits', async () => {
    const { requests, format, startUnixMs } = await read('dynamo.jsonl.gz')
    assert.equal(format, 'dynamo')
    assert.equal(requests.length, 24)
    assert.deepEqual(
      requests.map(({ id }) => id),
      Array.from({ length: 24 }, (_, i) => `req-${String(i).padStart(2, '0')}`),
    )
    assert.deepEqual(
      requests.slice(0, 3).map(({ session }) => session),
      [undefined, 'run-1:t', 'run-2:t'],
    )
    const first =
      gunzipSync(readFileSync(sample('dynamo.jsonl.gz')))
        .toString('utf8')
        .split('\n')[0] ?? ''
    const [, hash = ''] = /"input_sequence_hashes": \[(\d+)/.exec(first) ?? []
    const { prompt } = requests.find(({ id }) => first.includes(`"${id}"`)) ?? {}
    assert.ok(prompt?.kind === 'blocks')
    assert.equal(BigInt(`0x${prompt.blocks[0] ?? '0'}`), BigInt(hash))
    assert.equal(prompt.blockTokens, 64)
    assert.ok(startUnixMs !== undefined && startUnixMs >= 1_763_000_000_000)
  })

  it('reads GenAI spans: a call counts once, however many spans tell of it', async () => {
    const { requests, format } = await read('otlp.jsonl')
    assert.equal(format, 'otlp')
    assert.equal(requests.length, 20)
    assert.equal(requests[1]?.sampling.seed, 1n)
    assert.equal(requests[1]?.sampling.maxTokens, 64)
    assert.equal(requests[1]?.session, 'conv-1')
    assert.equal(requests[1]?.model, 'qwen3-moe')
    assert.equal(requests[4]?.prompt.kind, 'chat')
    const { prompt } = requests[1] ?? {}
    assert.ok(prompt?.kind === 'blocks')
    assert.equal(prompt.blockTokens, 16)
    assert.equal(prompt.blocks.length, Math.ceil(prompt.numTokens / 16))
  })

  it('reads a session of inference-perf', async () => {
    const { requests, format } = await read('inference-perf-session.json')
    assert.equal(format, 'otlp')
    assert.deepEqual(
      requests.map(({ arrivalMs }) => arrivalMs),
      [0, 1500, 3000, 4500],
    )
    assert.deepEqual(
      requests.map(({ outputTokens }) => outputTokens),
      [undefined, 11, 12, 13],
    )
    assert.equal(typeof requests[0]?.outputText, 'string')
    assert.equal(new Set(requests.map(({ session }) => session)).size, 1)
  })

  it('reads a folder of our own records, spans beside them left alone', async () => {
    const trace = await read('banyan')
    const rows = [0, 1].flatMap((router) => rowsOf(`banyan/requests-router-${router}-000001.jsonl`))
    assertInOrder(trace)
    assert.equal(trace.format, 'banyan')
    assert.equal(trace.files.length, 2)
    assert.deepEqual(new Set(trace.requests.map(({ id }) => id)), new Set(rows.map(({ id }) => id)))
    const third = trace.requests[2]
    const row = rows.find(({ id }) => id === third?.id) as
      | { prompt: { ids: number[] }; params: Record<string, unknown>; choices: { ids: number[]; hash: string }[] }
      | undefined
    assert.deepEqual(third?.prompt, { kind: 'tokens', tokens: row?.prompt.ids })
    assert.equal(third?.sampling.seed, BigInt(String(row?.params.seed)))
    assert.deepEqual(third?.sampling.logitBias, { 17: 2.5 })
    assert.deepEqual(third?.sampling.stopTokenIds, [3, 4])
    assert.deepEqual(
      third?.recorded?.tokenIds,
      row?.choices.map(({ ids }) => ids),
    )
    assert.deepEqual(
      third?.recorded?.tokenHashes,
      row?.choices.map(({ hash }) => hash),
    )
    assert.equal(trace.requests[5]?.recorded?.isWhole, false)
    assert.equal(trace.requests[9]?.recorded?.isWhole, false)
    assert.equal(trace.requests[7]?.recorded?.numTokens.length, 2)
  })

  it('lets a record stand for the one before it only where that was left; ids are a tenant’s own', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-ids-'))
    const [row] = rowsOf('banyan/requests-router-0-000001.jsonl')
    const left = { outcome: 'cancelled', error: { code: 'cancelled', message: 'left', reason: 'CLIENT_LEFT' } }
    const cancelled = { outcome: 'cancelled', error: { code: 'cancelled', message: 'cancelled' } }
    const rows = [
      { id: 'a', endMs: 5, outcome: 'finished' }, // the lines of several routers are in no order
      { id: 'a', endMs: 1, ...left },
      { id: 'b', endMs: 1, ...left },
      { id: 'b', endMs: 2, ...left },
      { id: 'b', endMs: 9, outcome: 'finished' },
      { id: 'c', endMs: 1, ...cancelled },
      { id: 'c', endMs: 2, outcome: 'finished' },
    ]
    writeFileSync(join(folder, 'r.jsonl'), rows.map((own) => `${JSON.stringify({ ...row, ...own })}\n`).join(''))
    const { requests, notices } = await readTrace(folder)
    rmSync(folder, { recursive: true })
    assert.deepEqual(
      requests.map(({ id, durationMs }) => [id, durationMs]),
      [
        ['a', 5],
        ['b', 9],
        ['c', 1],
        ['c#2', 2],
      ],
    )
    assert.deepEqual(notices, ['3 records of requests that were left and came back were left out'])
  })
})
