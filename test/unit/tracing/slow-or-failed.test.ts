import { SpanKind, SpanStatusCode, type Span } from '@opentelemetry/api'
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  type ReadableSpan,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contextFrom, spanContextOf, traceparentOf } from '../../../lib/tracing/spans.js'
import { keepSlowOrFailed, recordingAll } from '../../../lib/tracing/slow-or-failed.js'
import { createExporting } from '../../../lib/tracing/exporting.js'
import type { SamplerName } from '../../../lib/tracing/tracing.js'
import { attributeOf, readSpans, type FileSpan } from '../../helpers/spans.js'

const SLOW_MS = 1_000

describe('requests that are slow or failed', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-slow-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const start = (sampler: SamplerName, slowMs: number | undefined = SLOW_MS) => {
    const { tracer, shutdown } = createExporting({
      serviceName: 'banyan',
      instanceId: 'router-0',
      version: '1',
      spanFiles: { folder, name: 'spans' },
      sampler,
      samplerArg: 0,
      slowMs,
    })
    /** A request with a step that serves `others`, too. */
    const request = (tookMs: number, { isFailed = false, others = [] as string[], parent = '' } = {}): string => {
      const startTime = Date.now()
      const span = tracer.startSpan('chat demo', { kind: SpanKind.SERVER, startTime }, contextFrom(parent))
      const traceparent = traceparentOf(span) ?? assert.fail()
      const step = tracer.startSpan('router.step', {}, contextFrom(traceparent))
      step.setAttribute('of', traceparent)
      for (const other of others) step.addLink({ context: spanContextOf(other) ?? assert.fail() })
      step.end()
      if (isFailed) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end(startTime + tookMs)
      return traceparent
    }
    const exported = async (): Promise<FileSpan[]> => {
      await shutdown(5_000)
      return readSpans(folder)
    }
    return { tracer, request, exported }
  }
  const namesOf = (spans: readonly FileSpan[]): string[] => spans.map(({ name }) => name).sort()

  it('are exported with their steps where the sampler chose none, and no other is', async () => {
    const { request, exported } = start('parentbased_always_off')
    request(10)
    const failed = request(10, { isFailed: true })
    const slow = request(SLOW_MS)
    const spans = await exported()
    assert.deepEqual(namesOf(spans), ['chat demo', 'chat demo', 'router.step', 'router.step'])
    assert.deepEqual(
      [...new Set(spans.map(({ traceId }) => traceId))].sort(),
      [failed, slow].map((traceparent) => traceparent.slice(3, 35)).sort(),
    )
  })

  it('come with steps that hang under another request', async () => {
    const { tracer, request, exported } = start('parentbased_always_off')
    const slow = tracer.startSpan('chat demo', { kind: SpanKind.SERVER, startTime: Date.now() - 2 * SLOW_MS })
    const first = request(10, { others: [traceparentOf(slow) ?? assert.fail()] })
    slow.end()
    const steps = (await exported()).filter(({ name }) => name === 'router.step')
    assert.deepEqual(
      steps.map((step) => attributeOf(step, 'of')),
      [first],
    )
  })

  it('come with the step that ends after them; that of a request that ended well is dropped (K3)', async () => {
    const { tracer, exported } = start('parentbased_always_off')
    for (const tookMs of [10, SLOW_MS]) {
      const startTime = Date.now()
      const request = tracer.startSpan('chat demo', { kind: SpanKind.SERVER, startTime })
      const step = tracer.startSpan('router.step', {}, contextFrom(traceparentOf(request)))
      request.end(startTime + tookMs)
      step.end()
    }
    assert.deepEqual(namesOf(await exported()), ['chat demo', 'router.step'])
  })

  it('have their latest steps, within a bound of number and size (K2)', async () => {
    const ended: ReadableSpan[] = []
    const next = { onEnd: (span: ReadableSpan) => void ended.push(span) } as SpanProcessor
    const provider = new BasicTracerProvider({
      sampler: recordingAll(new AlwaysOffSampler()),
      spanProcessors: [keepSlowOrFailed(3_600_000, [next])],
    })
    const tracer = provider.getTracer('test')
    const kept = (count: number, text: string): number => {
      const request = tracer.startSpan('chat demo', { kind: SpanKind.SERVER })
      for (let i = 0; i < count; i++) {
        const step = tracer.startSpan('router.step', {}, contextFrom(traceparentOf(request)))
        step.addEvent('banyan.tree', { text })
        step.end()
      }
      request.setStatus({ code: SpanStatusCode.ERROR })
      request.end()
      return ended.splice(0).length - 1
    }
    assert.equal(kept(5_000, ''), 4_096)
    assert.equal(kept(64, 'x'.repeat(2 ** 20)), 15) // of 2 MiB and a little each
    assert.equal(kept(3, ''), 3)
  })

  it('are kept as soon as they are slow, with the trace of their steps, and that is told for a while (K2, K4)', () => {
    const ended: ReadableSpan[] = []
    const next = { onEnd: (span: ReadableSpan) => void ended.push(span) } as SpanProcessor
    let nowMs = Date.now()
    const keeping = keepSlowOrFailed(SLOW_MS, [next], () => nowMs)
    const provider = new BasicTracerProvider({
      sampler: recordingAll(new AlwaysOffSampler()),
      spanProcessors: [keeping],
    })
    const tracer = provider.getTracer('test')
    const began = nowMs
    const begin = () => tracer.startSpan('chat demo', { kind: SpanKind.SERVER, startTime: began })
    const [first, second, other] = [begin(), begin(), begin()]
    const step = (of: Span, endMs: number, ...links: readonly Span[]): Span => {
      const span = tracer.startSpan('router.step', { startTime: began }, contextFrom(traceparentOf(of)))
      for (const link of links) span.addLink({ context: link.spanContext() })
      span.end(began + endMs)
      return span
    }
    const kept = (): string[] => ended.splice(0).map((span) => span.spanContext().spanId)
    step(first, 10) // nobody's but the first one's
    const shared = step(first, 20, second)
    step(other, 30)
    first.end(began + 40)
    assert.deepEqual([kept(), keeping.decided()], [[], []])
    const late = step(second, SLOW_MS)
    assert.deepEqual(
      kept(),
      [shared, late].map((span) => span.spanContext().spanId),
    )
    assert.deepEqual(new Set(keeping.decided()), new Set([first, second].map((span) => span.spanContext().traceId)))
    nowMs += 3_000
    assert.deepEqual(keeping.decided(), [])
  })

  it('tell processes further on that they were not chosen', () => {
    const { request } = start('parentbased_always_off')
    assert.match(request(10), /-00$/)
  })

  it('are exported once where the sampler chose them, as every other that it chose (K1)', async () => {
    const { request, exported } = start('parentbased_always_on')
    request(10)
    request(SLOW_MS, { isFailed: true })
    assert.deepEqual(namesOf(await exported()), ['chat demo', 'chat demo', 'router.step', 'router.step'])
  })

  it('are not looked for where nobody asked', async () => {
    const { tracer } = createExporting({
      serviceName: 'banyan',
      instanceId: 'router-0',
      version: '1',
      spanFiles: { folder, name: 'spans' },
      sampler: 'parentbased_always_off',
      samplerArg: 0,
    })
    assert.equal(tracer.startSpan('chat demo').isRecording(), false)
  })
})
