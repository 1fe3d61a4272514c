// Builds a process's tracer: off (no-op) unless a collector or a span file is named. Nothing global is registered: the
// parent of a span travels in the frame and is given explicitly (`spans.ts`).

import { ProxyTracerProvider, type Tracer } from '@opentelemetry/api'
import type { LineFileOptions } from './line-file.js'
import { silence } from './spans.js'

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
export async function createTracing(options: TracingOptions): Promise<Tracing> {
  if (options.endpoint !== undefined || options.spanFiles !== undefined) {
    const { createExporting } = await import('./exporting.js')
    return createExporting(options)
  }
  return { tracer: silence(new ProxyTracerProvider().getTracer('banyan')), shutdown: () => Promise.resolve() }
}
