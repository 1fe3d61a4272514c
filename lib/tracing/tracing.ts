// Builds a process's tracer: off (no-op) unless a collector or a span file is named. Nothing global is registered: the
// parent of a span travels in the frame and is given explicitly (`spans.ts`).

import { ProxyTracerProvider, type Tracer } from '@opentelemetry/api'
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
import { createLineFile, type LineFileOptions } from './line-file.js'
import { createSpanFileExporter } from './otlp-json.js'
import { holdRecent } from './recent-spans.js'
import { keepSlowOrFailed, recordingAll } from './slow-or-failed.js'
import { holdUnsampled, silence } from './spans.js'

const EXPORT_EVERY_MS = 1_000
const MAX_QUEUED_SPANS = 8_192

export type SamplerName =
  | 'always_on'
  | 'always_off'
  | 'traceidratio'
  | 'parentbased_always_on'
  | 'parentbased_always_off'
  | 'parentbased_traceidratio'

export interface TracingOptions {
  readonly serviceName: string
  readonly instanceId: string // e.g. 'expert-worker-0'
  readonly version: string
  readonly endpoint?: string | undefined // of an OTLP/HTTP collector, without /v1/traces
  readonly spanFiles?: Pick<LineFileOptions, 'folder' | 'name'> | undefined // OTLP JSON lines
  readonly sampler: SamplerName
  readonly samplerArg: number // share of traces, 0 … 1
  readonly slowMs?: number | undefined // requests that fail or take as long are exported in any case
  readonly follows?: boolean | undefined // with `slowMs`: routers say which these are; no request begins here
}

/** What processes tell each other of requests that were slow or failed. */
export interface KeptTraces {
  /** Traces that this process decided lately to keep. */
  decided(this: void): readonly string[]
  /** Others decided so. */
  keep(this: void, traceIds: readonly string[]): void
}

export interface Tracing {
  readonly tracer: Tracer
  readonly kept?: KeptTraces | undefined
  /** Sends what is left, at most for so long. Never throws. */
  readonly shutdown: (timeoutMs: number) => Promise<void>
}

/** A tracer for one process; a no-op one where neither a collector nor a file is named. */
export function createTracing(options: TracingOptions): Tracing {
  const exporters = exportersOf(options)
  if (exporters.length === 0) {
    return { tracer: silence(new ProxyTracerProvider().getTracer('banyan')), shutdown: () => Promise.resolve() }
  }
  const sampler = samplerFor(options.sampler, options.samplerArg)
  const batches = exporters.map(
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
