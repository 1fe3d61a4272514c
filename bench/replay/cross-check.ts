// Whether the report and the server's own histograms tell the same times: percentiles within one bucket of each other.
// One choice a request, so that both count the same; from the send, as the server cannot know when a request was due.

import {
  askServer,
  bucketAt,
  bucketsOf,
  createHttpCaller,
  createOpenAiClient,
  measureRun,
  percentile,
  planReplay,
  replay,
  serverFigures,
  systemClock,
  type Bucket,
  type Trace,
} from '../../replay/src/index.js'
import { PROMPTS } from '../../test/helpers/prompts.js'
import { startUp } from '../up-process.js'
import { madeTrace } from './made-trace.js'

export interface Agreement {
  readonly metric: string
  readonly share: number
  readonly oursMs: number
  readonly serverBucket: string // seconds
  readonly bucketsApart: number
}

const HISTOGRAMS = {
  ttft: 'vllm:time_to_first_token_seconds',
  e2e: 'vllm:e2e_request_latency_seconds',
} as const

export async function crossCheck(requests: number, perSecond: number): Promise<Agreement[]> {
  const up = await startUp(['--transport', 'nats'])
  const http = createHttpCaller({ clock: systemClock, connectTimeoutMs: 5000 })
  try {
    const ask = { http, clock: systemClock, url: up.http }
    const client = createOpenAiClient({ url: up.http, http, model: 'demo', notice: console.error })
    const before = await askServer(ask)
    const pace = { kind: 'rate', perSecond, arrival: 'poisson', burstiness: 1, seed: 1 } as const
    const run = await replay(planReplay(traceOf(requests), { pace }), { client, clock: systemClock })
    const after = await askServer(ask)
    const figures = serverFigures(before.metrics, after.metrics)
    const measured = measureRun(run).map(({ metrics }) => metrics)
    const ours = {
      ttft: measured.flatMap(({ ttftFromSendMs }) => ttftFromSendMs ?? []),
      e2e: measured.map(({ e2eFromSendMs }) => e2eFromSendMs),
    }
    return (['ttft', 'e2e'] as const).flatMap((metric) => {
      const buckets = bucketsOf(figures?.samples ?? [], HISTOGRAMS[metric])
      return [0.5, 0.9, 0.95].map((share) => agree(metric, share, ours[metric], buckets))
    })
  } finally {
    http.close()
    await up.stop()
  }
}

function agree(metric: string, share: number, values: readonly number[], buckets: readonly Bucket[]): Agreement {
  const oursMs = percentile(
    [...values].sort((a, b) => a - b),
    share * 100,
  )
  const theirs = bucketAt(buckets, share) ?? NaN
  const mine = buckets.findIndex(({ le }) => oursMs / 1000 <= le)
  const bounds = [buckets[theirs - 1]?.le ?? 0, buckets[theirs]?.le ?? NaN]
  return { metric, share, oursMs, serverBucket: bounds.join(' – '), bucketsApart: Math.abs(theirs - mine) }
}

const traceOf = (count: number): Trace =>
  madeTrace(count, (i) => ({
    prompt: { kind: 'text', text: PROMPTS[i % PROMPTS.length] ?? '' },
    outputTokens: 16 + (i % 3) * 16,
    sampling: { temperature: 0.8, seed: BigInt(i) },
  }))
