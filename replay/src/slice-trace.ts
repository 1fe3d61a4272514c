// A part of a trace, as a trace of its own.

import type { Trace } from './trace.js'

export interface Slice {
  readonly startMs?: number // from this arrival on
  readonly endMs?: number // before this one
  readonly limit?: number // so many requests
}

/** Arrivals count from the first request that is left. */
export function sliceTrace(trace: Trace, { startMs = 0, endMs = Number.POSITIVE_INFINITY, limit }: Slice): Trace {
  const chosen = trace.requests.filter(({ arrivalMs }) => arrivalMs >= startMs && arrivalMs < endMs).slice(0, limit)
  const beginMs = chosen[0]?.arrivalMs ?? 0
  return {
    ...trace,
    requests: chosen.map((request) => ({ ...request, arrivalMs: request.arrivalMs - beginMs })),
    ...(trace.startUnixMs !== undefined && { startUnixMs: trace.startUnixMs + beginMs }),
  }
}
