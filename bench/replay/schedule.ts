// Whether the generator keeps its schedule: 1000 requests at 50 a second against an endpoint that answers at once.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import {
  createHttpCaller,
  createOpenAiClient,
  planReplay,
  replay,
  summarise,
  systemClock,
  type Arrival,
  type Summary,
  type Trace,
} from '../../replay/src/index.js'
import { madeTrace } from './made-trace.js'

export interface ScheduleOptions {
  readonly requests: number
  readonly perSecond: number
  readonly arrival: Arrival
}

export async function measureSchedule({ requests, perSecond, arrival }: ScheduleOptions): Promise<Summary> {
  const child = fork(fileURLToPath(new URL('./fast-endpoint.js', import.meta.url)))
  try {
    const [address] = (await once(child, 'message')) as [{ readonly port: number }] // what it sends
    const http = createHttpCaller({ clock: systemClock, connectTimeoutMs: 5000 })
    const client = createOpenAiClient({ url: `http://127.0.0.1:${address.port}`, http, notice: console.error })
    const pace = { kind: 'rate', perSecond, arrival, burstiness: 1, seed: 1 } as const
    const run = await replay(planReplay(traceOf(requests), { pace }), { client, clock: systemClock })
    client.close()
    return summarise(run)
  } finally {
    child.disconnect()
    await once(child, 'exit')
  }
}

const PROMPT_TOKENS = 500

const traceOf = (count: number): Trace =>
  madeTrace(count, (i) => ({
    prompt: { kind: 'tokens', tokens: Array.from({ length: PROMPT_TOKENS }, (_, at) => (i + at) % 1000) },
    outputTokens: 2,
    sampling: {},
  }))
