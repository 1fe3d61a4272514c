import assert from 'node:assert/strict'
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { createLayerSpans, LAYERS_EVERY } from '../../../services/attention/layer-spans.js'

const TIMES = { attentionMs: 1, expertWaitMs: 2, expertComputeMs: 1 }

describe('createLayerSpans', () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    sampler: new AlwaysOnSampler(),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const tracer = provider.getTracer('test')
  beforeEach(() => exporter.reset())

  it('opens them in the first step of a trace and in every eighth step', () => {
    const layerSpans = createLayerSpans(tracer)
    const request = tracer.startSpan('request')
    const parent = { ...request.spanContext() }
    const had = Array.from({ length: 2 * LAYERS_EVERY + 1 }, () => {
      const step = tracer.startSpan('step')
      step.spanContext = () => parent // all of one trace
      const layer = layerSpans(step)?.(0) ?? assert.fail()
      layer.end(TIMES)
      return layer.traceparent?.endsWith('-01') === true
    })
    const wanted = had.map((_, i) => i % LAYERS_EVERY === 0)
    assert.deepEqual(had, wanted)
    assert.equal(exporter.getFinishedSpans().length, wanted.filter(Boolean).length)
    assert.equal(layerSpans(tracer.startSpan('step of another trace'))?.(0).traceparent?.slice(-2), '01')
  })

  it('tells what goes wrong on the step where the layer has no span of its own', () => {
    const layerSpans = createLayerSpans(tracer)
    const { traceId } = tracer.startSpan('request').spanContext()
    const ofTrace = (name: string) => {
      const step = tracer.startSpan(name)
      const own = step.spanContext()
      step.spanContext = () => ({ ...own, traceId })
      return step
    }
    layerSpans(ofTrace('first'))
    const step = ofTrace('second')
    layerSpans(step)?.(3).note('banyan.expert.retried')
    step.end()
    const [event] = exporter.getFinishedSpans()[0]?.events ?? []
    assert.deepEqual([event?.name, event?.attributes], ['banyan.expert.retried', { 'banyan.layer': 3 }])
  })
})
