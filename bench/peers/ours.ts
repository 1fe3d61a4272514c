// Our side: `banyan up` in one process, asked through the SDK as a client does. Times are taken where the client gets a
// chunk, so gRPC and this process's own work count against us.

import { BanyanClient } from '../../sdk/src/index.js'
import { startUp, type UpProcess } from '../up-process.js'
import type { Contender } from './contender.js'
import type { Timeline } from './protocol.js'
import { processTree, residentMemory } from './resident-memory.js'

const START_TIMEOUT_MS = 600_000
const CALL_TIMEOUT_MS = 600_000

export interface OurOptions {
  readonly model: string // folder
  readonly weights: string
  readonly threads: number
  readonly flags?: readonly string[] // of `banyan up`, beside ours or instead of them
}

export interface Ours extends Contender {
  readonly up: Omit<UpProcess, 'stop'> // where it is found
}

export async function startOurs({ model, weights, threads, flags = [] }: OurOptions): Promise<Ours> {
  const common = ['--transport', 'local', '--draft', 'off', '--max-running', '64']
  const sizes = ['--model', model, '--weights', weights, '--threads', `${threads}`]
  const up = await startUp([...common, ...sizes, ...flags], { timeoutMs: START_TIMEOUT_MS }) // the last of a kind counts
  const client = new BanyanClient({ address: up.grpc })
  const decode = async (prompts: readonly (readonly number[])[], numTokens: number): Promise<Timeline> => {
    const started = performance.now()
    const streams = await Promise.all(prompts.map((tokens) => follow(client, tokens, numTokens, started)))
    return { tokens: streams.map(({ tokens }) => tokens), timesMs: streams.map(({ timesMs }) => timesMs) }
  }
  return {
    up,
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
