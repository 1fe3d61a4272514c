// A span per layer under a step's, in a trace's first step and in every LAYERS_EVERY-th recorded one: the calls of its
// experts hang under it. They are most of a step's spans and much alike from step to step. What goes wrong with a layer
// is told in every recorded step, on the layer's span or the step's. Nothing is measured for it that is not measured
// anyway.

import type { Attributes, Span, Tracer } from '@opentelemetry/api'
import { contextFrom, traceparentOf } from '../../lib/tracing/spans.js'

export interface LayerSpan {
  readonly traceparent: string | undefined
  note(this: void, event: string, attributes?: Attributes): void
  end(times: { readonly attentionMs: number; readonly expertWaitMs: number; readonly expertComputeMs: number }): void
}

/** Opens the span of a layer. */
export type OpenLayerSpan = (layer: number) => LayerSpan

export const LAYERS_EVERY = 8
const MAX_TRACES = 256

/** Undefined for a step that nobody records. */
export function createLayerSpans(tracer: Tracer): (step: Span) => OpenLayerSpan | undefined {
  let numRecorded = 0
  const traces = new Set<string>() // that had a step, the latest last
  return (step) => {
    if (!step.isRecording()) return undefined
    const { traceId } = step.spanContext()
    const hasLayers = !traces.delete(traceId) || numRecorded % LAYERS_EVERY === 0
    traces.add(traceId)
    for (const oldest of traces) if (traces.size > MAX_TRACES) traces.delete(oldest)
    numRecorded += 1
    step.setAttribute('banyan.step.has_layers', hasLayers)
    return hasLayers ? layersOf(tracer, step) : withoutLayers(step)
  }
}

function layersOf(tracer: Tracer, step: Span): OpenLayerSpan {
  const parent = contextFrom(traceparentOf(step))
  return (layer) => {
    const span = tracer.startSpan('attention.layer', { attributes: { 'banyan.layer': layer } }, parent)
    return {
      traceparent: traceparentOf(span),
      note: (event, attributes) => void span.addEvent(event, attributes),
      end: ({ attentionMs, expertWaitMs, expertComputeMs }) => {
        span.setAttributes({
          'banyan.attention_ms': attentionMs,
          'banyan.expert.wait_ms': expertWaitMs,
          'banyan.expert.compute_ms': expertComputeMs,
        })
        span.end()
      },
    }
  }
}

/** The expert workers are told of no parent: they do not record their part. */
function withoutLayers(step: Span): OpenLayerSpan {
  return (layer) => ({
    traceparent: undefined,
    note: (event, attributes) => void step.addEvent(event, { 'banyan.layer': layer, ...attributes }),
    end: () => undefined,
  })
}
