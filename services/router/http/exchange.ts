// One HTTP request and its response, as a route sees them.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InferenceEngine } from '../engine.js'

export interface Exchange {
  readonly engine: InferenceEngine
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: URL
  readonly params: readonly string[]
  readonly tenant: string
  readonly requestId: string | undefined
  readonly session: string | undefined
  readonly traceparent: string | undefined // as it came
  readonly signal: AbortSignal // aborted when the client leaves
  readonly body: () => Promise<unknown>
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}
