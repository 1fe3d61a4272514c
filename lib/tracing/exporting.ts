// What a process's spans go through on their way out: a sampler, batches, exporters. Loaded where spans are exported alone:
// the SDK takes an eighth of a process's start.

import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type Sampler,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { within } from '../config/within.js'
import { createLineFile } from './line-file.js'
import { createSpanFileExporter } from './otlp-json.js'
import { holdRecent } from './recent-spans.js'
import { keepSlowOrFailed, recordingAll } from './slow-or-failed.js'
import { holdUnsampled } from './spans.js'
import type { KeptTraces, SamplerName, Tracing, TracingOptions } from './tracing.js'

const EXPORT_EVERY_MS = 1_000
const MAX_QUEUED_SPANS = 8_192

/** A tracer whose spans are exported as the options say. */
export function createExporting(options: TracingOptions): Tracing {
  const sampler = samplerFor(options.sampler, options.samplerArg)
  const batches = exportersOf(options).map(
    (exporter) =>
      new BatchSpanProcessor(exporter, { maxQueueSize: MAX_QUEUED_SPANS, scheduledDelayMillis: EXPORT_EVERY_MS }),
  )
  const late = lateChoice(options, batches)
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': options.serviceName,
      'service.instance.id': options.instanceId,
      'service.version': options.version,
    }),
    sampler: late === undefined ? sampler : recordingAll(sampler),
    spanProcessors: late === undefined ? batches : [...batches, late.processor],
  })
  const tracer = provider.getTracer('banyan', options.version)
  return {
    tracer: late === undefined ? tracer : holdUnsampled(tracer),
    kept: late,
    // A collector that does not answer must not hold a process back; its failure is its own news.
    shutdown: async (timeoutMs) => void (await within(timeoutMs, provider.shutdown())),
  }
}

interface LateChoice extends KeptTraces {
  readonly processor: SpanProcessor
}

/** What makes of an unsampled span one that is exported after all. */
function lateChoice({ slowMs, follows = false }: TracingOptions, batches: SpanProcessor[]): LateChoice | undefined {
  if (slowMs === undefined) return undefined
  if (follows) {
    const processor = holdRecent(batches)
    return { processor, decided: () => [], keep: processor.keep }
  }
  const processor = keepSlowOrFailed(slowMs, batches)
  return { processor, decided: processor.decided, keep: () => undefined }
}

function exportersOf({ endpoint, spanFiles }: TracingOptions): readonly SpanExporter[] {
  return [
    ...(endpoint === undefined ? [] : [new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces` })]),
    ...(spanFiles === undefined ? [] : [createSpanFileExporter(createLineFile(spanFiles))]),
  ]
}

function samplerFor(name: SamplerName, share: number): Sampler {
  switch (name) {
    case 'always_on':
      return new AlwaysOnSampler()
    case 'always_off':
      return new AlwaysOffSampler()
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(share)
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() })
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() })
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(share) })
  }
}
