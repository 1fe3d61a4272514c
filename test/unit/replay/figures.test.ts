// The figures of a report against values computed by hand, AIPerf's names and forms, goodput.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createChunkList } from '../../../replay/src/chunk-list.js'
import {
  distribution,
  parseGoals,
  parseMetrics,
  percentile,
  profileLines,
  RequestFailure,
  reportHtml,
  reportText,
  serverFigures,
  summarise,
  summaryCsv,
  summaryJson,
  writeReport,
  type Answer,
  type ReplayRun,
} from '../../../replay/src/index.js'

/** Chunks at these times with so many tokens each, due at 100 ms and sent 2 ms late. */
function answerOf(index: number, chunks: readonly (readonly [number, number])[], failure?: RequestFailure): Answer {
  const tokenIds = chunks.flatMap(([, count]) => Array.from({ length: count }, () => 1))
  return {
    dispatch: {
      planned: {
        index,
        request: {
          id: `r${index}`,
          arrivalMs: 0,
          prompt: { kind: 'tokens', tokens: [1] },
          sampling: {},
          outputTokens: 6,
        },
        atMs: 100,
        sessionNum: index,
        turnIndex: 0,
      },
      scheduledMs: 100,
      sentMs: 102,
    },
    id: `replay-${index}`,
    ackMs: 110,
    endMs: 205,
    choices: [
      {
        text: '',
        tokenIds,
        chunks: createChunkList(chunks.map(([atMs, numTokens]) => ({ atMs, numTokens }))),
        finishReason: 'length',
        stats: undefined,
      },
    ],
    promptTokens: 10,
    cachedTokens: 0,
    completionTokens: tokenIds.length,
    fingerprint: 'toy',
    failure,
  }
}

const runOf = (answers: readonly Answer[]): ReplayRun => ({
  plan: {
    pace: { kind: 'recorded', speedup: 1 },
    requests: answers.map(({ dispatch }) => dispatch.planned),
    requestedRate: 2,
  },
  answers,
  startUnixMs: 1_700_000_000_000,
  durationMs: 205,
  wasCancelled: false,
})

// What AIPerf 0.13 exports of a streaming replay, by its own metric registry.
const STATISTICS = 'avg count max min p1 p10 p25 p5 p50 p75 p90 p95 p99 std sum unit'
const AIPERF_DISTRIBUTIONS = {
  time_to_first_token: 'ms',
  time_to_second_token: 'ms',
  inter_token_latency: 'ms',
  inter_chunk_latency: 'ms',
  request_latency: 'ms',
  decode_duration: 'ms',
  output_token_throughput_per_user: 'tokens/sec/user',
  e2e_output_token_throughput: 'tokens/sec/user',
  prefill_throughput_per_user: 'tokens/sec/user',
  output_sequence_length: 'tokens',
  output_token_count: 'tokens',
  input_sequence_length: 'tokens',
  osl_mismatch_diff_pct: '%',
  usage_prompt_tokens: 'tokens',
  usage_completion_tokens: 'tokens',
  usage_total_tokens: 'tokens',
  usage_prompt_cache_read_tokens: 'tokens',
  error_isl: 'tokens',
}
const AIPERF_TOTALS = {
  request_count: 'requests',
  error_request_count: 'requests',
  completed_request_count: 'requests',
  request_error_rate: '%',
  benchmark_duration: 'sec',
  request_throughput: 'requests/sec',
  output_token_throughput: 'tokens/sec',
  input_token_throughput: 'tokens/sec',
  total_token_throughput: 'tokens/sec',
  total_isl: 'tokens',
  total_osl: 'tokens',
  total_output_tokens: 'tokens',
  total_error_isl: 'tokens',
  total_usage_prompt_tokens: 'tokens',
  total_usage_completion_tokens: 'tokens',
  total_usage_total_tokens: 'tokens',
  total_usage_prompt_cache_read_tokens: 'tokens',
  overall_usage_prompt_cache_read_pct: '%',
  osl_mismatch_count: 'requests',
  goodput: 'requests/sec',
  good_request_count: 'requests',
  good_request_fraction: 'ratio',
  replay_sched_lag_p50: 'ms',
  replay_sched_lag_p90: 'ms',
  replay_sched_lag_p99: 'ms',
  replay_sched_degraded: 'count',
}

const scrape = (text: string) => new Map([['http://server/metrics', text]])

const speculated = answerOf(0, [
  [140, 1],
  [160, 3],
  [200, 2],
])
const plain = answerOf(1, [
  [130, 1],
  [150, 1],
  [170, 1],
])
const refused = answerOf(2, [], new RequestFailure('http_503', 'busy', { code: 503 }))

describe('the figures of a replay', () => {
  it('finds percentiles of many values as a sort does, of equal ones too', () => {
    const values = fc.array(fc.oneof(fc.double({ noNaN: true, min: -10, max: 10 }), fc.nat(3)), {
      minLength: 1_500,
      maxLength: 4_000,
      size: 'max',
    })
    fc.assert(
      fc.property(values, (list) => {
        const sorted = Float64Array.from(list).sort()
        const { min, p1, p50, p95, p99, max } = distribution(list) ?? assert.fail()
        assert.deepEqual(
          [min, p1, p50, p95, p99, max],
          [0, 1, 50, 95, 99, 100].map((percent) => percentile(sorted, percent)),
        )
      }),
      { numRuns: 10 },
    )
  })

  it('percentiles interpolate as NumPy does, and the deviation is that of a sample', () => {
    const found = distribution([4, 1, 3, 2])
    assert.deepEqual([found?.p25, found?.p50, found?.p90, found?.avg, found?.sum], [1.75, 2.5, 3.7, 2.5, 10])
    assert.ok(Math.abs((found?.std ?? 0) - Math.sqrt(5 / 3)) < 1e-12)
    assert.equal(percentile([7], 99), 7)
    assert.equal(distribution([]), undefined)
  })

  it('TTFT, TTST, ITL, TPOT and e2e by their definitions; what failed is counted, not averaged in', () => {
    const { figures, failures } = summarise(runOf([speculated, plain, refused]), {
      goals: parseGoals('ttft:35, tpot:25'),
    })
    const avg = (tag: string) => figures[tag]?.avg
    assert.equal(avg('time_to_first_token'), (40 + 30) / 2)
    assert.equal(avg('time_to_first_token_from_send'), (38 + 28) / 2)
    assert.equal(avg('time_to_second_token'), 20)
    assert.equal(avg('inter_chunk_latency'), (20 + 40 + 20 + 20) / 4)
    assert.equal(avg('inter_token_latency'), (60 / 5 + 40 / 2) / 2)
    assert.equal(avg('request_latency'), (100 + 70) / 2)
    assert.equal(avg('output_sequence_length'), 4.5)
    assert.equal(avg('tokens_per_chunk'), 1.5)
    assert.equal(avg('request_count'), 2)
    assert.equal(avg('error_request_count'), 1)
    assert.equal(avg('osl_mismatch_count'), 1) // 3 tokens where 6 were recorded
    assert.equal(avg('benchmark_duration'), 0.103)
    assert.equal(avg('output_token_throughput'), 9 / 0.103)
    assert.equal(avg('goodput'), 1 / 0.103) // only the second met both
    assert.equal(avg('good_request_fraction'), 1 / 3)
    assert.equal(avg('replay_sched_lag_p99'), 2)
    assert.deepEqual(failures, [{ kind: 'http_503', code: 503, message: 'busy', count: 1 }])
  })

  it('where ids are not told, the usage counts, else the chunks, and that is said', () => {
    const [choice] = speculated.choices
    assert.ok(choice)
    const chunks = createChunkList(Array.from(choice.chunks.times, (atMs) => ({ atMs, numTokens: undefined })))
    const untold = { ...speculated, choices: [{ ...choice, tokenIds: undefined, chunks }] }
    assert.equal(summarise(runOf([untold])).figures.output_sequence_length?.avg, 6)
    const estimated = summarise(runOf([{ ...untold, completionTokens: undefined }]))
    assert.equal(estimated.figures.output_sequence_length?.avg, 3)
    assert.match(estimated.notes.join('; '), /each chunk is counted as one token/)
  })

  it('goals are read under both names, and refused with what was wanted', () => {
    assert.deepEqual(parseGoals('ttft:500 tpot:50'), { ttft: 500, tpot: 50 })
    assert.deepEqual(parseGoals('time_to_first_token:1,request_latency:2 itl:3'), { ttft: 1, e2e: 2, itl: 3 })
    for (const bad of ['', 'ttft', 'ttft:', 'ttft:0', 'ttft:x', 'speed:3'])
      assert.throws(() => parseGoals(bad), /want (NAME:MILLISECONDS|at least one goal)/, bad)
  })

  it('writes AIPerf’s files: a line per request, the summary as JSON and CSV', () => {
    const run = runOf([speculated, plain, refused])
    const lines = [...profileLines(run)].map((line) => JSON.parse(line) as Record<string, never>)
    assert.equal(lines.length, 3)
    assert.deepEqual(Object.keys(lines[0] ?? {}), ['metadata', 'metrics', 'error'])
    const [first, , third] = lines
    assert.deepEqual(first?.metadata, {
      session_num: 0,
      x_request_id: 'replay-0',
      x_correlation_id: 'replay-0',
      conversation_id: 'r0',
      turn_index: 0,
      request_start_ns: 1_700_000_000_102_000_000,
      request_ack_ns: 1_700_000_000_110_000_000,
      request_end_ns: 1_700_000_000_205_000_000,
      worker_id: 'replay',
      record_processor_id: 'replay',
      benchmark_phase: 'profiling',
      was_cancelled: false,
      cancellation_time_ns: null,
      trace_request_id: 'r0',
      scheduled_start_ns: 1_700_000_000_100_000_000,
    })
    assert.deepEqual(first?.metrics?.['time_to_first_token'], { value: 40, unit: 'ms' })
    assert.deepEqual(first?.metrics?.['inter_chunk_latency'], { value: [20, 40], unit: 'ms' })
    assert.deepEqual(third?.error, { code: 503, type: 'http_503', message: 'busy' })

    const json = summaryJson(summarise(run, { goals: parseGoals('ttft:500') })) as Record<
      string,
      Record<string, unknown>
    >
    for (const [tag, unit] of Object.entries(AIPERF_DISTRIBUTIONS))
      assert.deepEqual(
        [
          json[tag]?.unit,
          Object.keys(json[tag] ?? {})
            .sort()
            .join(' '),
        ],
        [unit, STATISTICS],
        tag,
      )
    for (const [tag, unit] of Object.entries(AIPERF_TOTALS))
      assert.deepEqual([json[tag]?.unit, Object.keys(json[tag] ?? {}).sort()], [unit, ['avg', 'unit']], tag)
    assert.deepEqual(json.error_summary, [
      { error_details: { code: 503, type: 'http_503', message: 'busy' }, count: 1 },
    ])

    const csv = summaryCsv(summarise(run))
    assert.match(
      csv,
      /^Metric,avg,min,max,sum,p1,p5,p10,p25,p50,p75,p90,p95,p99,std\n[^]*\nTime to First Token \(ms\),35,30,40,70,/,
    )
    assert.match(
      csv,
      /\n\nMetric,Value\n[^]*\nError Request Count,1\n[^]*\nRequest Count,2\nRequest Error Rate \(%\),33\.33\n/,
    )
  })

  it('prints the table with its definitions, and a page that needs nothing from anywhere', () => {
    const run = runOf([speculated, plain, refused])
    const summary = summarise(run)
    assert.match(reportText(summary), /TTFT \(ms\) +35.*\n[^]*http_503 +1 {2}busy\n[^]*TPOT +time per output token/)
    const html = reportHtml(run, summary, {
      title: 'A <b>trace</b>',
      subtitle: [],
      server: serverFigures(
        scrape('# before\nbanyan:expert_rows_total{layer="0",expert="1"} 3'),
        scrape(
          '# after\nbanyan:expert_rows_total{layer="0",expert="1"} 10\nbanyan:expert_rows_total{layer="1",expert="0"} 4',
        ),
      ),
    })
    assert.ok(html.includes('A &lt;b&gt;trace&lt;/b&gt;') && html.includes('layer 0, expert 1: 7'))
    assert.doesNotMatch(html, /https?:|src=|@import|url\(/)
  })

  it('reads what grew on a server between two scrapes', () => {
    const before = 'vllm:spec_decode_num_drafts_total{model_name="a\\"b"} 5\n'
    const after = `# HELP x y\nvllm:spec_decode_num_drafts_total{model_name="a\\"b"} 15
vllm:spec_decode_num_draft_tokens_total 40
vllm:spec_decode_num_accepted_tokens_total 20`
    assert.deepEqual(parseMetrics(before)[0]?.labels, { model_name: 'a"b' })
    const found = serverFigures(scrape(before), scrape(after))?.acceptance
    assert.deepEqual([found?.drafts, found?.rate, found?.length], [10, 0.5, 3])
  })

  it('of a server’s counts since its start says nothing where it did not tell them before', () => {
    const told = '# HELP\nvllm:spec_decode_num_draft_tokens_total 40\n'
    assert.equal(serverFigures(new Map(), scrape(told)), undefined)
    const worker = new Map([...scrape(told), ['http://worker/metrics', told]])
    assert.deepEqual(
      serverFigures(scrape(told), worker)?.samples.map(({ value }) => value),
      [0],
    )
  })

  it('what was given up counts against the good share, what was interrupted does not, nor is no output good', () => {
    const givenUp = answerOf(1, [], new RequestFailure('in_flight_limit', 'too many'))
    const interrupted = answerOf(2, [], new RequestFailure('cancelled', 'interrupted'))
    const mute = answerOf(3, [])
    const shareOf = (goals: string) =>
      summarise(runOf([speculated, givenUp, interrupted, mute]), { goals: parseGoals(goals) }).figures
        .good_request_fraction?.avg
    assert.equal(shareOf('ttft:1000'), 1 / 3)
    assert.equal(shareOf('tpot:1000'), 2 / 3)
  })

  it('writes what was measured even where the page cannot be drawn', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-report-'))
    const run = runOf([speculated, plain])
    const files = { lines: profileLines(run), json: { a: 1 }, csv: 'a\n' }
    const html = (): string => {
      throw new Error('no room')
    }
    await assert.rejects(writeReport(folder, { ...files, html }), /no room/)
    assert.deepEqual(readdirSync(folder).sort(), [
      'profile_export.jsonl',
      'profile_export_aiperf.csv',
      'profile_export_aiperf.json',
    ])
    const lines = readFileSync(join(folder, 'profile_export.jsonl'), 'utf8')
    assert.equal(lines, [...profileLines(run)].map((line) => `${line}\n`).join(''))
    rmSync(folder, { recursive: true })
  })
})
