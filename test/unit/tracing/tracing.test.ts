import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contextFrom, spanContextOf, traceparentOf } from '../../../lib/tracing/spans.js'
import { createTracing, type TracingOptions } from '../../../lib/tracing/tracing.js'

const OPTIONS: TracingOptions = {
  serviceName: 'banyan',
  instanceId: 'attention-0',
  version: '1.2.3',
  sampler: 'parentbased_always_on',
  samplerArg: 1,
}
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const PARENT = `00-${TRACE_ID}-b7ad6b7169203331-01`

interface SpanJson {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly { readonly key: string; readonly value: unknown }[]
}
interface ExportJson {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { readonly key: string; readonly value: unknown }[] }
    readonly scopeSpans: readonly { readonly spans: readonly SpanJson[] }[]
  }[]
}

describe('tracing', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-tracing-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const readExports = (file: string): ExportJson[] =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ExportJson)

  it('is off without a collector and a file', async () => {
    const span = (await createTracing(OPTIONS)).tracer.startSpan('request')
    assert.equal(span.isRecording(), false)
    assert.equal(traceparentOf(span), undefined)
  })

  it('writes spans as OTLP JSON lines that only their owner can read', async () => {
    const spanFiles = { folder: join(folder, 'deep'), name: 'spans-attention-0' }
    const spanFile = join(folder, 'deep', 'spans-attention-0-1.jsonl')
    const { tracer, shutdown } = await createTracing({ ...OPTIONS, spanFiles })
    const step = tracer.startSpan(
      'step',
      { attributes: { rows: 3, share: 0.5, done: true, ids: ['a'] } },
      contextFrom(PARENT),
    )
    step.end()
    await shutdown(5_000)
    const [exported] = readExports(spanFile)
    const [group] = exported?.resourceSpans ?? []
    const [span] = group?.scopeSpans[0]?.spans ?? []
    assert.deepEqual([span?.name, span?.traceId, span?.parentSpanId], ['step', TRACE_ID, 'b7ad6b7169203331'])
    assert.ok(BigInt(span?.endTimeUnixNano ?? 0) >= BigInt(span?.startTimeUnixNano ?? 1))
    assert.deepEqual(span?.attributes, [
      { key: 'rows', value: { intValue: '3' } },
      { key: 'share', value: { doubleValue: 0.5 } },
      { key: 'done', value: { boolValue: true } },
      { key: 'ids', value: { arrayValue: { values: [{ stringValue: 'a' }] } } },
    ])
    assert.ok(group?.resource.attributes.some(({ key }) => key === 'service.instance.id'))
    assert.equal(statSync(spanFile).mode & 0o777, 0o600)
  })

  it('keeps a child in the trace of its parent', async () => {
    const spanFiles = { folder, name: 'child' }
    const spanFile = join(folder, 'child-1.jsonl')
    const { tracer, shutdown } = await createTracing({ ...OPTIONS, spanFiles })
    const parent = tracer.startSpan('step')
    tracer.startSpan('expert', {}, contextFrom(traceparentOf(parent))).end()
    parent.end()
    await shutdown(5_000)
    const spans = readExports(spanFile).flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans: all }) => all)),
    )
    const byName = new Map(spans.map((span) => [span.name, span]))
    assert.equal(byName.get('expert')?.parentSpanId, byName.get('step')?.spanId)
    assert.equal(byName.get('expert')?.traceId, byName.get('step')?.traceId)
  })

  it('drops what the sampler drops', async () => {
    const { tracer } = await createTracing({ ...OPTIONS, spanFiles: { folder, name: 'off' }, sampler: 'always_off' })
    assert.equal(tracer.startSpan('request').isRecording(), false)
  })
})

describe('a traceparent', () => {
  const ID = '0af7651916cd43dd8448eb211c80319c'
  const SPAN = 'b7ad6b7169203331'
  it('names a parent in any version, and says whether it is sampled', () => {
    assert.deepEqual(
      [`00-${ID}-${SPAN}-01`, `00-${ID}-${SPAN}-02`, `01-${ID}-${SPAN}-03-later`].map((header) => {
        const { traceId, spanId, traceFlags } = spanContextOf(header) ?? assert.fail(header)
        return [traceId, spanId, traceFlags]
      }),
      [
        [ID, SPAN, 1],
        [ID, SPAN, 0],
        [ID, SPAN, 1],
      ],
    )
  })

  it('that is none is left alone', () => {
    const bad = [
      '',
      'hello',
      `ff-${ID}-${SPAN}-01`,
      `00-${ID}-${SPAN}-01-more`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${ID}-${'0'.repeat(16)}-01`,
      `00-${ID.toUpperCase()}-${SPAN}-01`,
      `00-${ID}-${SPAN}`,
    ]
    assert.deepEqual(
      bad.filter((header) => spanContextOf(header) !== undefined),
      [],
    )
  })
})
