// What readers do with files that are broken, of no format, or empty.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { readTrace } from '../../../replay/src/read-trace.js'
import { sliceTrace } from '../../../replay/src/slice-trace.js'
import { TraceError } from '../../../replay/src/trace-error.js'
import { repositoryRoot } from '../../helpers/paths.js'

const line = (fields: object): string => JSON.stringify({ timestamp: 0, input_length: 10, output_length: 2, ...fields })

describe('a broken trace', () => {
  let folder = ''
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-trace-'))))
  after(() => rmSync(folder, { recursive: true }))

  const write = (name: string, content: string | Buffer): string => {
    const file = join(folder, name)
    writeFileSync(file, content)
    return file
  }
  const fails = (file: string, message: RegExp): Promise<void> =>
    assert.rejects(readTrace(file), (error: unknown) => error instanceof TraceError && message.test(error.message))

  const BROKEN: readonly (readonly [string, string, RegExp])[] = [
    ['no JSON', '{"timestamp": 3, "input_le', /want JSON, found/],
    ['a negative time', line({ timestamp: -1 }), /timestamp: want a time of 0 or more, found -1/],
    ['an infinite time', line({}).replace('"timestamp":0', '"timestamp":1e999'), /timestamp: want a time/],
    ['a time as text', line({ timestamp: 'now' }), /timestamp: want a time of 0 or more, found "now"/],
    ['a negative length', line({ input_length: -3 }), /input_length: want a whole number of tokens, found -3/],
    ['half a token', line({ output_length: 1.5 }), /output_length: want a whole number of tokens, found 1.5/],
    ['a huge length', line({ input_length: 10_000_001 }), /input_length: want at most 10000000 tokens, found 10000001/],
    ['no length', '{"timestamp": 0}', /want exactly one of input_length, text_input, messages/],
    ['hashes that are none', line({ hash_ids: [true] }), /hash_ids: want whole numbers or texts, found true/],
  ]
  for (const [what, bad, message] of BROKEN) {
    it(`names file, line, what was wanted and found: ${what}`, async () => {
      const file = write('broken.jsonl', [line({}), line({ timestamp: 5 }), bad, line({ timestamp: 9 }), ''].join('\n'))
      await fails(file, message)
      await fails(file, /broken\.jsonl:3: /)
      const trace = await readTrace(file, { skipBad: true })
      assert.deepEqual(
        trace.requests.map(({ arrivalMs }) => arrivalMs),
        [0, 5, 9],
      )
      assert.equal(trace.skipped.length, 1)
      assert.deepEqual([trace.skipped[0]?.file, trace.skipped[0]?.line], [file, 3])
      assert.match(trace.skipped[0]?.problem ?? '', message)
    })
  }

  it('is recognised by the lines that are whole, even when the first is not', async () => {
    const trace = await readTrace(write('first.jsonl', ['garbage', line({}), ''].join('\n')), { skipBad: true })
    assert.deepEqual([trace.format, trace.skipped[0]?.line], ['mooncake', 1])
  })

  it('finds a broken element of a JSON array, and an array without end', async () => {
    const talk = '{"id":"a","conversations":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}'
    await fails(write('bad.json', `[\n${talk},\nnonsense,\n${talk}\n]`), /bad\.json:3: want JSON, found "nonsense"/)
    await fails(write('short.json', `[\n${talk},\n{"id": "b", "conv`), /short\.json:3: want JSON/)
    await fails(
      write('open.json', `[\n${talk},\n`),
      /open\.json:3: want JSON, found "the end of the file inside its array"/,
    )
    const whole = await readTrace(write('one-line.json', `[${talk}, ${talk.replace('"a"', '"b]"')}]`))
    assert.deepEqual(
      whole.requests.map(({ session }) => session),
      ['a', 'b]'],
    )
  })

  it('broken rows of CSV', async () => {
    const azure = (row: string): string => `TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,4,5\n${row}\n`
    await fails(
      write('azure.csv', azure('yesterday,4,5')),
      /azure\.csv:3: TIMESTAMP: want a date and a time, found "yesterday"/,
    )
    await fails(
      write('azure.csv', azure('2023-11-16 18:17:03,-4,5')),
      /azure\.csv:3: ContextTokens: want a whole number/,
    )
    await fails(write('azure.csv', azure('2023-11-16 18:17:03,4')), /azure\.csv:3: want TIMESTAMP/)
    await fails(
      write('azure.csv', azure('"2023-11-16\n18:17:03",4,5')),
      /azure\.csv:3: want quotes that end on their line .*, found one that does not$/,
    )
    const burst = 'Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n-5,GPT-4,1,2,3,API log\n'
    await fails(write('burst.csv', burst), /burst\.csv:2: Timestamp: want seconds of 0 or more, found "-5"/)
  })

  it('says of an unknown format what was tried and why each failed', async () => {
    const file = write('unknown.txt', 'hello\nworld\n')
    for (const name of [
      'banyan',
      'dynamo',
      'otlp',
      'bailian',
      'mooncake',
      'azure-2023',
      'azure-2024',
      'burstgpt',
      'sharegpt',
      'vllm-custom',
    ])
      await fails(file, new RegExp(`tried .*${name} \\([^)]+`))
  })

  it('an empty file, a blank one, a header alone, nothing at all', async () => {
    await fails(write('empty.jsonl', ''), /empty\.jsonl: want a trace, found an empty file/)
    await fails(write('blank.jsonl', '\n \n'), /blank\.jsonl: want a trace, found an empty file/)
    await fails(
      write('header.csv', 'TIMESTAMP,ContextTokens,GeneratedTokens\n'),
      /azure-2023 \(it has no row after its header\)/,
    )
    await fails(join(folder, 'nowhere'), /nowhere: want a trace file or a folder of them, found nothing there/)
    await fails(
      write('failed.csv', 'Timestamp,Model,Request tokens,Response tokens\n1,GPT-4,5,0\n'),
      /want at least one request .* found none: 1 failed request/,
    )
  })

  it('a role that is a name of JavaScript’s own', async () => {
    const conversations = [{ from: 'constructor', value: 'hello' }]
    await fails(
      write('roles.json', JSON.stringify([{ id: 'a', conversations }])),
      /conversations\[0\]\.from: want one of human/,
    )
  })

  it('a folder without traces names what lies there', async () => {
    const sub = join(folder, 'sub')
    mkdirSync(sub, { recursive: true })
    await fails(sub, /want a folder with traces, found 0 files/)
    writeFileSync(join(sub, 'notes.txt'), 'hello\n')
    await fails(sub, /found 1 file and no trace among them[^]*notes\.txt: want a trace of a known format/)
  })

  it('puts times in order, keeps the order of equal ones, and says so', async () => {
    const times = [5, 3, 3, 9]
    const rows = times.map((timestamp, i) => line({ timestamp, output_length: i }))
    const trace = await readTrace(write('unsorted.jsonl', rows.join('\n')))
    assert.deepEqual(
      trace.requests.map(({ arrivalMs, outputTokens }) => [arrivalMs, outputTokens]),
      [
        [0, 1],
        [0, 2],
        [2, 0],
        [6, 3],
      ],
    )
    assert.deepEqual(trace.notices, ['2 requests were out of order: sorted by time'])
  })

  it('refuses a file where only some requests have times', async () => {
    await fails(
      write('some.jsonl', `${line({})}\n{"input_length":3,"output_length":4}\n`),
      /want a time in every request or in none, found 1 of 2/,
    )
  })

  it('leaves out the torn last line of our own records, for its writer was killed', async () => {
    const whole = readFileSync(
      join(repositoryRoot, 'test/fixtures/traces/banyan/requests-router-0-000001.jsonl'),
      'utf8',
    )
    const trace = await readTrace(write('requests-torn.jsonl', whole.slice(0, -100)))
    assert.equal(trace.requests.length, 11)
    assert.match(trace.notices?.join() ?? '', /requests-torn\.jsonl:12: the last line is torn/)
    await fails(write('requests-torn.jsonl', `${whole.slice(0, -100)}\n`), /requests-torn\.jsonl:12: want JSON/)
  })

  it('a record of ours that breaks its schema names the field', async () => {
    const whole = readFileSync(
      join(repositoryRoot, 'test/fixtures/traces/banyan/requests-router-0-000001.jsonl'),
      'utf8',
    )
    await fails(
      write('bad-record.jsonl', whole.replace('"endMs": ', '"endMs": -')),
      /bad-record\.jsonl:1: endMs: .*found -/,
    )
  })

  it('undoes gzip by content, and says when it is cut', async () => {
    const bytes = gzipSync(Array.from({ length: 5000 }, (_, i) => line({ timestamp: i })).join('\n'))
    assert.equal((await readTrace(write('zipped.jsonl', bytes))).requests.length, 5000)
    await fails(
      write('cut.gz', bytes.subarray(0, bytes.length - 20)),
      /cut\.gz: want a readable file, unexpected end of file/,
    )
  })

  it('names what is neither text nor gzip', async () => {
    await fails(write('packed.zst', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0])), /want UTF-8 text, .* found zstd$/)
    await fails(write('rows.parquet', Buffer.from('PAR1')), /found Parquet$/)
    await fails(write('wide.csv', Buffer.from('\ufeffTIMESTAMP', 'utf16le')), /found UTF-16$/)
  })

  it('bounds an item', async () => {
    const file = write('long.jsonl', `${line({})}\n${line({ text: 'x'.repeat(5000) })}\n`)
    await assert.rejects(
      readTrace(file, { maxItemChars: 1000 }),
      /long\.jsonl:2: want at most 1000 characters, found more/,
    )
  })

  it('a slice counts from its own first request', async () => {
    const trace = await readTrace(
      write('whole.jsonl', [0, 10, 20, 30].map((timestamp) => line({ timestamp })).join('\n')),
    )
    const part = sliceTrace(trace, { startMs: 10, endMs: 30 })
    assert.deepEqual(
      part.requests.map(({ arrivalMs }) => arrivalMs),
      [0, 10],
    )
    assert.equal(sliceTrace(trace, { limit: 1 }).requests.length, 1)
  })
})
