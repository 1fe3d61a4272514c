// A trace that exists only in memory: requests without arrivals, which a rate then gives them.

import type { Trace, TraceRequest } from '../../replay/src/index.js'

export const madeTrace = (count: number, request: (i: number) => Omit<TraceRequest, 'id' | 'arrivalMs'>): Trace => ({
  format: 'made',
  files: [],
  skipped: [],
  isUntimed: true,
  requests: Array.from({ length: count }, (_, i) => ({ id: `r${i}`, arrivalMs: 0, ...request(i) })),
})
