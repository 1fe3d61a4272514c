import assert from 'node:assert/strict'
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { holdUnsampled } from '../../../lib/tracing/spans.js'
import { decodeRows, rootOnly, type Rows } from '../../../services/router/sequence.js'
import { inStepSpan } from '../../../services/router/step-span.js'
import { createTestSequence } from './sequences.js'

describe('inStepSpan', () => {
  const headerOf = (digit: string, flags = '01'): string => `00-${digit.repeat(32)}-${digit.repeat(16)}-${flags}`
  const rowsOf = (traceparent: string | undefined): Rows => {
    const sequence = { ...createTestSequence('s', [1]), traceparent }
    return decodeRows(sequence, rootOnly(sequence))
  }
  const spanOf = async (traceparents: readonly (string | undefined)[], areHeld = false) => {
    const exporter = new InMemorySpanExporter()
    const provider = new BasicTracerProvider({
      sampler: new AlwaysOnSampler(),
      spanProcessors: [new SimpleSpanProcessor(exporter)],
    })
    const tracer = provider.getTracer('test')
    if (areHeld) holdUnsampled(tracer)
    await inStepSpan(tracer, traceparents.map(rowsOf), () => Promise.resolve())
    return exporter
      .getFinishedSpans()
      .flatMap((span) => [span.parentSpanContext?.spanId[0], span.links.map(({ context }) => context.spanId[0])])
  }

  it('hangs under the first request that is sampled, linked to the others, each once', async () => {
    assert.deepEqual(await spanOf([headerOf('a', '00'), headerOf('b'), headerOf('c'), headerOf('b'), headerOf('c')]), [
      'b',
      ['a', 'c'],
    ])
  })

  it('hangs under the first where none is sampled but somebody may ask for it yet', async () => {
    assert.deepEqual(await spanOf([headerOf('a', '00'), headerOf('b', '00')], true), ['a', ['b']])
  })

  it('is not made where nobody will see it', async () => {
    assert.deepEqual(await spanOf([headerOf('a', '00'), headerOf('b', '00')]), [])
    assert.deepEqual(await spanOf([undefined]), [])
    assert.deepEqual(await spanOf([]), [])
  })
})
