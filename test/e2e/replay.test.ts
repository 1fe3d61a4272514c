// `banyan replay` as a user runs it: exit codes, files, an interruption, a check against a cluster that lives for the
// call, and two runs compared.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bucketAt, bucketsOf, growth, parseMetrics } from '../../replay/src/index.js'
import { runCli, startCli, upCli } from '../helpers/cli.js'
import { answerFast, startEndpoint, type TestEndpoint } from '../helpers/completion-endpoints.js'
import { eventually } from '../helpers/eventually.js'
import { repositoryRoot } from '../helpers/paths.js'

type Json = Readonly<Record<string, Readonly<Record<string, unknown>>>>

describe('banyan replay', function () {
  this.timeout(180_000)
  const root = mkdtempSync(join(tmpdir(), 'banyan-replay-cli-'))
  const trace = join(root, 'trace.jsonl')
  let endpoint: TestEndpoint

  before(async () => {
    endpoint = await startEndpoint(answerFast)
    const lines = Array.from({ length: 60 }, (_, i) => ({
      timestamp: i * 20,
      input_length: 600 + (i % 5),
      output_length: 3 + (i % 4),
      hash_ids: [1, 2 + (i % 2)],
    }))
    writeFileSync(trace, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  })
  after(async () => {
    await endpoint.close()
    rmSync(root, { recursive: true, force: true })
  })

  const to = (...words: string[]): string[] => ['replay', trace, '--url', endpoint.url, ...words]
  const jsonOf = (text: string): Json => JSON.parse(text) as Json // the documented form

  it('prints one JSON value, and writes exactly one file of each kind', async () => {
    const out = join(root, 'out')
    const { code, stdout, stderr } = await runCli(
      to('--speedup', '4', '--goodput', 'ttft:500 tpot:50', '--out', out, '--json'),
    )
    assert.equal(code, 0, stderr)
    const summary = jsonOf(stdout)
    assert.deepEqual(
      [summary.request_count?.avg, summary.output_sequence_length?.max, summary.goodput?.unit],
      [60, 6, 'requests/sec'],
    )
    assert.deepEqual(readdirSync(out).sort(), [
      'profile_export.jsonl',
      'profile_export_aiperf.csv',
      'profile_export_aiperf.json',
      'report.html',
    ])
    assert.equal(readFileSync(join(out, 'profile_export.jsonl'), 'utf8').trim().split('\n').length, 60)
    assert.deepEqual(jsonOf(readFileSync(join(out, 'profile_export_aiperf.json'), 'utf8')), summary)

    const table = await runCli(to('--concurrency', '8', '--limit', '20', '--out', join(root, 'out-b')))
    assert.equal(table.code, 0, table.stderr)
    assert.match(
      table.stdout,
      /TTFT \(ms\) +[\d.]+[^]*requests answered +20 {2}requests[^]*TPOT +time per output token/,
    )

    const same = await runCli(['replay', 'compare', out, out, '--bound', '5%', '--json'])
    assert.deepEqual([same.code, jsonOf(same.stdout).hasRegression], [0, false])
    assert.equal((await runCli(['replay', 'compare', out, root])).code, 2)
  })

  it('lets an answer of the served fingerprint end by itself, but forces its length where its prompt has to be made', async () => {
    const fixture = join(repositoryRoot, 'test/fixtures/traces/banyan/requests-router-0-000001.jsonl')
    const withIds = readFileSync(fixture, 'utf8')
    const served = /"fingerprint":\s*"([^"]+)"/.exec(withIds)?.[1] ?? assert.fail('want a fingerprint in the fixture')
    const own = await startEndpoint((asked, response) =>
      asked.path === '/version'
        ? void response.end(JSON.stringify({ version: '1', fingerprint: served }))
        : answerFast(asked, response),
    )
    const forced = async (name: string, text: string): Promise<number> => {
      const file = join(root, name)
      writeFileSync(file, text)
      const before = own.asked.length
      const { code, stderr } = await runCli(['replay', file, '--url', own.url, '--concurrency', '4'])
      assert.equal(code, 0, stderr)
      const asked = own.asked.slice(before)
      assert.equal(asked.length, 12)
      return asked.filter(({ body }) => body.ignore_eos === true && body.min_tokens === body.max_tokens).length
    }
    try {
      assert.equal(await forced('with-ids.jsonl', withIds), 0)
      assert.equal(
        await forced('with-hashes.jsonl', withIds.replace(/"ids":\s*\[[^\]]*\],?/g, '').replace(/,\s*}/g, '}')),
        12,
      )
    } finally {
      await own.close()
    }
  })

  it('an interruption ends it with 130 and a report of what was done', async () => {
    const out = join(root, 'interrupted')
    const running = startCli(to('--rate', '5', '--arrival', 'constant', '--out', out, '--json'))
    const already = endpoint.asked.length
    await eventually(() => endpoint.asked.length > already + 3, 'some requests were sent')
    running.child.kill('SIGINT')
    const { code, stdout, stderr } = await running.outcome
    assert.equal(code, 130, stderr)
    const summary = jsonOf(stdout)
    const count = Number(summary.request_count?.avg)
    assert.ok(count >= 3 && count < 60 && (summary.was_cancelled as unknown) === true, stdout)
    assert.equal(readdirSync(out).length, 4)
  })

  it('fails with 1 where the schedule was not kept or nobody answered, with 2 where the words make no sense', async () => {
    const late = await runCli(to('--rate', '2000', '--max-lateness', '0.001'))
    assert.equal(late.code, 1)
    assert.match(late.stderr, /lateness: want a p99 of at most 0\.001 ms/)
    const nobody = await runCli(['replay', trace, '--url', 'http://127.0.0.1:1', '--limit', '3', '--speedup', '100'])
    assert.equal(nobody.code, 1)
    assert.match(nobody.stdout, /connect_refused +3/)
    for (const words of [to('--check'), to('--out', trace)]) {
      const { code, stderr } = await runCli(words)
      assert.equal(code, 2, `${words.join(' ')}: ${stderr}`)
      assert.match(stderr, /want/)
    }
  })

  /** The report's medians and those of the server's own histograms lie in the same bucket, or in two next to each other. */
  async function agreeAboutTimes(url: string): Promise<void> {
    const scrape = async () => parseMetrics(await (await fetch(`${url}/metrics`)).text())
    const before = await scrape()
    const words = ['--url', url, '--concurrency', '2', '--limit', '10', '--json']
    const { code, stdout, stderr } = await runCli(['replay', trace, ...words])
    assert.equal(code, 0, stderr)
    const grown = growth(before, await scrape())
    for (const [figure, histogram] of [
      ['time_to_first_token', 'vllm:time_to_first_token_seconds'],
      ['request_latency', 'vllm:e2e_request_latency_seconds'],
    ] as const) {
      const buckets = bucketsOf(grown, histogram)
      const seconds = Number(jsonOf(stdout)[figure]?.p50) / 1000
      const apart = Math.abs(buckets.findIndex(({ le }) => seconds <= le) - (bucketAt(buckets, 0.5) ?? NaN))
      assert.ok(apart <= 1, `${figure}: ${seconds} s, the server has ${JSON.stringify(buckets)}`)
    }
  }

  it('what `up --trace-dir` recorded is proven to be the same on a cluster for the call; its times are the report’s', async () => {
    const folder = join(root, 'recorded')
    const up = await upCli(['--trace-dir', folder, '--experts', '2'])
    try {
      for (const prompt of ['export interface ', 'import { ']) {
        const body = JSON.stringify({ prompt, max_tokens: 12, temperature: 0.8 })
        const headers = { 'content-type': 'application/json' }
        const answer = await fetch(`${up.ready.http}/v1/completions`, { method: 'POST', headers, body })
        assert.equal(answer.status, 200, await answer.text())
      }
      await agreeAboutTimes(up.ready.http)
    } finally {
      await up.end()
    }
    const checked = await runCli([
      'replay',
      folder,
      '--check',
      '--transport',
      'local',
      '--draft',
      'off',
      '--experts',
      '1',
      '--json',
    ])
    assert.equal(checked.code, 0, checked.stderr)
    const { check, request_count: count } = jsonOf(checked.stdout)
    assert.deepEqual([count?.avg, check?.mode, check?.differing, check?.isProven], [12, 'exact', 0, true])

    const [file = ''] = readdirSync(folder).filter((name) => name.startsWith('requests-'))
    const lines = readFileSync(join(folder, file), 'utf8').trim().split('\n')
    const record = JSON.parse(lines[0] ?? '') as { id: string; choices: { ids: number[] }[] } // as documented
    const [choice] = record.choices
    assert.ok(choice)
    choice.ids = choice.ids.map((id, i) => (i === 4 ? id + 1 : id))
    writeFileSync(join(folder, file), `${[JSON.stringify(record), ...lines.slice(1)].join('\n')}\n`)
    const differs = await runCli(['replay', folder, '--check', '--transport', 'local'])
    assert.equal(differs.code, 1)
    assert.match(
      differs.stdout,
      new RegExp(`first difference: request ${record.id}.*choice 0, token 4: recorded ${choice.ids[4]}`),
    )
    assert.match(differs.stdout, / {2}recorded: ".*"\n {2}replayed: ".*"\n {2}spans of that step:/)
  })
})
