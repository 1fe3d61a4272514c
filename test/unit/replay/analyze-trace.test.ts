// What is said of a trace: figures checked against a second way of counting.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { analysisHtml } from '../../../replay/src/analyze/analysis-html.js'
import { analysisText } from '../../../replay/src/analyze/analysis-text.js'
import { analyzeTrace } from '../../../replay/src/analyze/analyze-trace.js'
import { readTrace } from '../../../replay/src/read-trace.js'
import type { Trace, TraceRequest } from '../../../replay/src/trace.js'
import { repositoryRoot } from '../../helpers/paths.js'

const sample = (name: string): string => join(repositoryRoot, 'test/fixtures/traces', name)

interface Arrival {
  readonly atMs: number
  readonly tokens?: number
  readonly blocks?: readonly string[]
  readonly session?: string
}
const traceOf = (arrivals: readonly Arrival[]): Trace => ({
  format: 'mooncake',
  files: ['made.jsonl'],
  skipped: [],
  requests: arrivals.map(({ atMs, tokens = 10, blocks = [], session }, i): TraceRequest => ({
    id: `r${i}`,
    arrivalMs: atMs,
    prompt: { kind: 'blocks', numTokens: tokens, blockTokens: 10, blocks },
    outputTokens: i + 1,
    sampling: {},
    ...(session !== undefined && { session }),
  })),
})

describe('analyzing a trace', () => {
  it('tells rate, gaps and burstiness: even arrivals have none', () => {
    const { arrivals } = analyzeTrace(traceOf(Array.from({ length: 101 }, (_, i) => ({ atMs: i * 100 }))))
    assert.equal(arrivals?.durationMs, 10_000)
    assert.equal(arrivals.requestsPerSecond, 10)
    assert.equal(arrivals.gapVariation, 0)
    assert.ok(arrivals.dispersion < 0.05)
    assert.deepEqual(arrivals.peaks, [
      { windowMs: 1000, requestsPerSecond: 10 },
      { windowMs: 10_000, requestsPerSecond: 10 },
    ])
  })

  it('draws no more buckets than there are requests, and 60 at most', () => {
    const bucketsOf = (count: number): number | undefined =>
      analyzeTrace(traceOf(Array.from({ length: count }, (_, i) => ({ atMs: i * 100 })))).arrivals?.overTime.length
    assert.deepEqual([bucketsOf(4), bucketsOf(500)], [4, 60])
  })

  it('tells bursts by both figures and by the peak', () => {
    const bursts = Array.from({ length: 100 }, (_, i) => ({ atMs: Math.floor(i / 20) * 60_000 + (i % 20) }))
    const { arrivals } = analyzeTrace(traceOf(bursts))
    assert.ok((arrivals?.gapVariation ?? 0) > 4)
    assert.ok((arrivals?.dispersion ?? 0) > 5)
    assert.equal(arrivals?.peaks[0]?.requestsPerSecond, 20)
  })

  it('tells lengths with percentiles', () => {
    const { promptTokens, outputTokens } = analyzeTrace(
      traceOf(Array.from({ length: 101 }, (_, i) => ({ atMs: i, tokens: i }))),
    )
    assert.deepEqual([promptTokens?.min, promptTokens?.p50, promptTokens?.p99, promptTokens?.max], [0, 50, 99, 100])
    assert.deepEqual([outputTokens?.avg, outputTokens?.sum], [51, 5151])
  })

  it('tells what a prefix cache could have saved: leading blocks, the last one cut', () => {
    const { prefixSharing } = analyzeTrace(
      traceOf([
        { atMs: 0, tokens: 25, blocks: ['a', 'b', 'c'] },
        { atMs: 1, tokens: 25, blocks: ['a', 'x', 'c'] }, // c again, but not as prefix
        { atMs: 2, tokens: 25, blocks: ['a', 'b', 'c'] },
      ]),
    )
    assert.equal(prefixSharing?.uniqueBlocks, 4)
    assert.equal(prefixSharing.blocks, 9)
    assert.equal(prefixSharing.mostUses, 3)
    assert.equal(prefixSharing.sharedTokenRatio, (10 + 5 + 25) / 75)
    assert.equal(prefixSharing.idealHitRate, (10 + 25) / 75)
  })

  it('tells sessions and turns', () => {
    const { sessions } = analyzeTrace(
      traceOf([{ atMs: 0, session: 'a' }, { atMs: 1, session: 'b' }, { atMs: 2, session: 'a' }, { atMs: 3 }]),
    )
    assert.deepEqual([sessions?.count, sessions?.requests, sessions?.turns.max], [2, 3, 2])
  })

  it('does without times, without lengths, with one request, with all at once', async () => {
    const talks = analyzeTrace(await readTrace(sample('sharegpt.json')))
    assert.equal(talks.arrivals, undefined)
    assert.equal(talks.promptsOfUnknownLength, 31)
    assert.match(analysisText(talks, 80), /no times: they have to come from a rate/)
    assert.match(analysisText(analyzeTrace(traceOf([{ atMs: 0 }])), 80), /1 request,/)
    assert.equal(analyzeTrace(traceOf([{ atMs: 0 }, { atMs: 0 }])).arrivals, undefined)
  })

  for (const name of [
    'mooncake.jsonl',
    'azure-2024.csv',
    'burstgpt.csv',
    'bailian.jsonl',
    'banyan',
    'otlp.jsonl',
    'vllm-custom.jsonl',
  ]) {
    it(`says it as text within the width, and as one page that needs nothing else: ${name}`, async () => {
      const analysis = analyzeTrace(await readTrace(sample(name)))
      const bars = analysisText(analysis, 60)
        .split('\n')
        .filter((line) => /[█▁]/.test(line))
      assert.ok(
        bars.every((line) => line.length <= 60),
        bars.join('\n'),
      )
      const page = analysisHtml(analysis)
      assert.doesNotMatch(page, /https?:\/\/|<script|<link|@import|url\(|NaN|undefined/)
      assert.match(page, /prefers-color-scheme: dark/)
      assert.equal(page.match(/<svg/g)?.length ?? 0, page.match(/<\/svg>/g)?.length ?? 0)
      assert.deepEqual(JSON.parse(JSON.stringify(analysis)), analysis)
    })
  }

  it('shows names as text, not as markup', () => {
    const page = analysisHtml(analyzeTrace({ ...traceOf([{ atMs: 0 }]), files: ['<script>alert(1)</script>'] }))
    assert.doesNotMatch(page, /<script/)
  })
})
