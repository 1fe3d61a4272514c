// A span per layer under a step's, where the step's is recorded: the calls of its experts hang under it, and what went
// wrong with them is told there. Nothing is measured for it that is not measured anyway.

import type { Attributes, Span, Tracer } from '@opentelemetry/api'
import { contextFrom, traceparentOf } from '../../lib/tracing/spans.js'

export interface LayerSpan {
  readonly traceparent: string | undefined
  note(this: void, event: string, attributes?: Attributes): void
  end(times: { readonly attentionMs: number; readonly expertWaitMs: number; readonly expertComputeMs: number }): void
}

/** Opens the span of a layer. */
export type OpenLayerSpan = (layer: number) => LayerSpan

/** Undefined where nobody records the step. */
export function layerSpans(tracer: Tracer, step: Span): OpenLayerSpan | undefined {
  if (!step.isRecording()) return undefined
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
