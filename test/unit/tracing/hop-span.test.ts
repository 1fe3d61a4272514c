// Spans of hops inside the cluster: made under a parent that is kept, and not otherwise.

import assert from 'node:assert/strict'
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { inHopSpan } from '../../../lib/tracing/spans.js'

const HEADER = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-'

describe('the span of a hop', () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    sampler: new AlwaysOnSampler(),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const tracer = provider.getTracer('test')
  const hop = (parent: string | undefined): Promise<string | undefined> =>
    inHopSpan(tracer, 'hop', parent, (traceparent, span) => {
      span.setAttribute('rows', 1)
      return Promise.resolve(traceparent)
    })
  beforeEach(() => exporter.reset())

  it('is made under a parent that is kept, and is the parent of what follows', async () => {
    const own = await hop(`${HEADER}01`)
    const [span] = exporter.getFinishedSpans()
    assert.equal(span?.parentSpanContext?.spanId, 'b7ad6b7169203331')
    assert.equal(own?.split('-')[2], span.spanContext().spanId)
  })

  it('is not made under one that is not kept, whose header goes on as it came', async () => {
    assert.equal(await hop(`${HEADER}00`), `${HEADER}00`)
    assert.deepEqual(exporter.getFinishedSpans(), [])
  })

  it('passes the failure of what it holds on either way', async () => {
    for (const parent of [`${HEADER}00`, `${HEADER}01`]) {
      const failing = inHopSpan(tracer, 'hop', parent, () => Promise.reject(new Error('no rows')))
      await assert.rejects(failing, /no rows/)
    }
  })
})
