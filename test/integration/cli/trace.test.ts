// `banyan trace`: a running cluster's requests into files, and what can be done with them.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCli, startCli, upCli, type CliCluster, type Outcome, type RunningCli } from '../../helpers/cli.js'
import { eventually } from '../../helpers/eventually.js'
import { goldenModel, repositoryRoot } from '../../helpers/paths.js'
import { requestRecordSchema, type RequestRecord } from '../../../lib/traffic/request-record.js'

const sample = (name: string): string => join(repositoryRoot, 'test/fixtures/traces', name)
const NUM_REQUESTS = 4

describe('banyan trace', function () {
  this.timeout(60_000)
  const folder = mkdtempSync(join(tmpdir(), 'banyan-trace-cli-'))
  const inFolder = (name: string): string => join(folder, name)
  const traceDir = inFolder('up')
  let cluster: CliCluster | undefined
  let byLimit: Outcome | undefined
  let bySignal: Outcome | undefined

  const capture = async (...words: readonly string[]): Promise<RunningCli> => {
    const running = startCli(['trace', 'capture', '--url', cluster?.ready.http ?? '', ...words])
    let stderr = ''
    running.child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()))
    await eventually(
      () => stderr.includes('recording') || running.child.exitCode !== null,
      'the capture records',
      20_000,
    )
    return running
  }
  const complete = async (seed: number): Promise<void> => {
    const body = {
      model: 'qwen3-moe',
      prompt: [1, 2, 3, 4, seed],
      max_tokens: 8,
      ignore_eos: true,
      seed,
      n: 1 + (seed % 2),
    }
    const response = await fetch(`${cluster?.ready.http ?? ''}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    })
    assert.equal(response.status, 200)
  }

  before(async () => {
    const model = goldenModel('qwen3-moe')
    cluster = await upCli(['--model', model, '--transport', 'local', '--trace-dir', traceDir, '--trace-content', 'ids'])
    const limited = await capture('--out', inFolder('limited'), '--limit', '2', '--json')
    const interrupted = await capture('--out', inFolder('interrupted'), '--content', 'text')
    for (let seed = 0; seed < NUM_REQUESTS; seed++) await complete(seed)
    byLimit = await limited.outcome
    await eventually(
      () => recordsIn(inFolder('interrupted')).length === NUM_REQUESTS,
      'all requests are captured',
      20_000,
    )
    interrupted.child.kill('SIGINT')
    bySignal = await interrupted.outcome
    await cluster.end()
  })
  after(() => rmSync(folder, { recursive: true }))

  const recordsIn = (path: string): RequestRecord[] =>
    (existsSync(path) ? readdirSync(path, { encoding: 'utf8' }) : [])
      .filter((name) => name.startsWith('requests-'))
      .flatMap((name) => readFileSync(join(path, name), 'utf8').trim().split('\n'))
      .filter((line) => line !== '')
      .map((line) => requestRecordSchema.parse(JSON.parse(line)))

  it('captures what the router records, to a limit, as JSON', () => {
    assert.equal(byLimit?.code, 0)
    const { requests, files, contents } = JSON.parse(byLimit.stdout) as {
      requests: number
      files: string[]
      contents: string[]
    }
    assert.deepEqual([requests, contents], [2, ['ids']])
    assert.equal(statSync(files[0] ?? '').mode & 0o777, 0o600)
    assert.deepEqual(recordsIn(inFolder('limited')), recordsIn(traceDir).slice(0, 2))
  })

  it('Ctrl-C ends a capture with whole files; less than was asked for is said', () => {
    assert.equal(bySignal?.code, 130)
    assert.match(bySignal.stdout, /^4 requests in /)
    assert.match(bySignal.stderr, /give less than text: ids/)
    assert.deepEqual(recordsIn(inFolder('interrupted')), recordsIn(traceDir))
  })

  it('shows a request by place and by id, as text without colours and as JSON', async () => {
    const text = await runCli(['trace', 'show', traceDir, '1'], { env: { NO_COLOR: '1' } })
    assert.equal(text.code, 0)
    for (const word of ['qwen3-moe', 'queue', 'router.step', 'attention.step', 'router-0', 'tokens', 'length'])
      assert.ok(text.stdout.includes(word), word)
    assert.ok(!text.stdout.includes('\u001b'))
    const [, second] = recordsIn(traceDir)
    const json = await runCli(['trace', 'show', traceDir, second?.id ?? '', '--json'])
    const found = JSON.parse(json.stdout) as { id: string; spans: unknown[]; record: unknown }
    assert.equal(found.id, second?.id)
    assert.deepEqual(found.record, second)
    assert.ok(found.spans.length > 8)
    const unknown = await runCli(['trace', 'show', traceDir, 'nobody'])
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /not_found: .*want a request's id/)
  })

  it('converts captured traffic: spans and requests for Perfetto, hashes for others', async () => {
    const chrome = await runCli([
      'trace',
      'convert',
      traceDir,
      '--to',
      'chrome',
      '--out',
      inFolder('chrome.json'),
      '--json',
    ])
    const { requests, spans } = JSON.parse(chrome.stdout) as { requests: number; spans: number }
    assert.equal(requests, NUM_REQUESTS)
    const { traceEvents } = JSON.parse(readFileSync(inFolder('chrome.json'), 'utf8')) as {
      traceEvents: { ph: string }[]
    }
    assert.equal(traceEvents.filter(({ ph }) => ph === 'X').length, spans + 3 * requests)
    const mooncake = await runCli(['trace', 'convert', traceDir, '--to', 'mooncake', '--out', inFolder('m.jsonl.gz')])
    assert.equal(mooncake.code, 0)
    assert.match(mooncake.stderr, /mooncake has .*no seeds/)
    const analysis = await runCli([
      'trace',
      'analyze',
      inFolder('m.jsonl.gz'),
      '--json',
      '--out',
      inFolder('page.html'),
    ])
    assert.equal((JSON.parse(analysis.stdout) as { requests: number }).requests, NUM_REQUESTS)
    assert.match(readFileSync(inFolder('page.html'), 'utf8'), /^<!doctype html>/)
  })

  it('prints a conversion where no file is named, and nothing else', async () => {
    const { code, stdout } = await runCli(['trace', 'convert', sample('bailian.jsonl'), '--to', 'banyan'])
    assert.equal(code, 0)
    assert.equal(
      stdout
        .trim()
        .split('\n')
        .map((line) => requestRecordSchema.parse(JSON.parse(line))).length,
      30,
    )
  })

  it('fails with the code that the failure is', async () => {
    writeFileSync(inFolder('bad.jsonl'), '{"timestamp":0,"input_length":5,"output_length":1}\nnonsense\n')
    const runs: readonly (readonly [number, RegExp, ...string[]])[] = [
      [1, /bad\.jsonl:2: want JSON, found "nonsense"/, 'analyze', inFolder('bad.jsonl')],
      [0, /left out .*bad\.jsonl:2/, 'analyze', inFolder('bad.jsonl'), '--skip-bad'],
      [1, /not_found: .*nowhere: want a trace file or a folder/, 'analyze', inFolder('nowhere')],
      [
        1,
        /want a file to write/,
        'convert',
        sample('mooncake.jsonl'),
        '--to',
        'otlp',
        '--out',
        inFolder('no/such/file'),
      ],
      [2, /want --to mooncake, otlp, banyan, dynamo, chrome, found parquet/, 'convert', 'x', '--to', 'parquet'],
      [
        2,
        /want another file than those of the trace/,
        'analyze',
        inFolder('bad.jsonl'),
        '--out',
        inFolder('bad.jsonl'),
      ],
      [2, /want --out with --json/, 'convert', 'x', '--to', 'otlp', '--json'],
      [2, /want --out DIR, found none/, 'capture', '--url', 'http://127.0.0.1:1'],
      [2, /--content: want hash, ids, text, found "all"/, 'capture', '--out', folder, '--content', 'all'],
      [2, /want --url with --seconds or --limit/, 'capture', '--out', folder, '--limit', '3'],
      [
        1,
        /unavailable: .*want a Banyan router there, found no answer/,
        'capture',
        '--url',
        'http://127.0.0.1:1',
        '--out',
        inFolder('none'),
      ],
      [2, /missing required argument/, 'show', 'x'],
      [2, /want capture, convert, analyze or show, found bogus/, 'bogus'],
    ]
    await Promise.all(
      runs.map(async ([code, message, ...words]) => {
        const outcome = await runCli(['trace', ...words])
        assert.equal(outcome.code, code, outcome.stderr)
        assert.match(outcome.stderr, message)
      }),
    )
  })
})
