// Our side: `banyan up` in one process, asked through the SDK as a client does. Times are taken where the client gets a
// chunk, so gRPC and this process's own work count against us.

import { BanyanClient } from '../../sdk/src/index.js'
import { startUp } from '../up-process.js'
import type { Contender } from './contender.js'
import type { Timeline } from './protocol.js'
import { processTree, residentMemory } from './resident-memory.js'

const START_TIMEOUT_MS = 600_000
const CALL_TIMEOUT_MS = 600_000

export interface OurOptions {
  readonly model: string // folder
  readonly weights: string
  readonly threads: number
}

export async function startOurs({ model, weights, threads }: OurOptions): Promise<Contender> {
  const flags = ['--transport', 'local', '--draft', 'off', '--model', model, '--weights', weights]
  const up = await startUp([...flags, '--threads', `${threads}`, '--max-running', '64'], START_TIMEOUT_MS)
  const client = new BanyanClient({ address: up.grpc })
  const decode = async (prompts: readonly (readonly number[])[], numTokens: number): Promise<Timeline> => {
    const started = performance.now()
    const streams = await Promise.all(prompts.map((tokens) => follow(client, tokens, numTokens, started)))
    return { tokens: streams.map(({ tokens }) => tokens), timesMs: streams.map(({ timesMs }) => timesMs) }
  }
  return {
    decode,
    memory: () => residentMemory(processTree(up.pid)),
    stop: async () => {
      client.close()
      await up.stop()
    },
  }
}

async function follow(
  client: BanyanClient,
  prompt: readonly number[],
  maxTokens: number,
  started: number,
): Promise<{ readonly tokens: number[]; readonly timesMs: number[] }> {
  const tokens: number[] = []
  const timesMs: number[] = []
  const sampling = { temperature: 0, maxTokens, ignoreEos: true }
  for await (const event of client.generate({ tokens: prompt, sampling }, { deadlineMs: CALL_TIMEOUT_MS })) {
    if (event.type !== 'chunk') continue
    const now = performance.now() - started
    for (const token of event.tokenIds) {
      tokens.push(token)
      timesMs.push(now)
    }
  }
  return { tokens, timesMs }
}
