// A long prompt that arrives while streams decode: how long they stand still for it, and how long it waits for them.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Ours } from '../peers/ours.js'
import { BanyanClient } from '../../sdk/src/index.js'
import { askFirstToken } from '../shared-prefix.js'

export interface Arrival {
  readonly largestGapMs: number // between two chunks of any stream, around the prompt's prefill
  readonly firstTokenMs: number // of the prompt
}

export interface ArrivalOptions {
  readonly decoding: readonly (readonly number[])[] // one stream each
  readonly maxTokens: number // of each stream: more than it can decode meanwhile
  readonly arriving: readonly number[]
}

const SETTLED = 8 // chunks of every stream before the prompt is sent
const LOOK_MS = 2

/** Throws where a stream ends before the prompt's first token is there. */
export async function measureArrival(ours: Ours, options: ArrivalOptions): Promise<Arrival> {
  const client = new BanyanClient({ address: ours.up.grpc })
  const leave = new AbortController()
  const streams = options.decoding.map((tokens) => {
    const timesMs: number[] = []
    return { timesMs, end: follow(client, { tokens, maxTokens: options.maxTokens, timesMs, signal: leave.signal }) }
  })
  const lists = streams.map(({ timesMs }) => timesMs)
  const until = async (isTrue: () => boolean): Promise<void> => {
    while (!isTrue() && !leave.signal.aborted) await sleep(LOOK_MS)
  }
  const arrive = async (): Promise<Arrival> => {
    await until(() => lists.every(({ length }) => length >= SETTLED))
    const sentMs = performance.now()
    const { ms: firstTokenMs } = await askFirstToken(ours, options.arriving)
    const arrivedMs = sentMs + firstTokenMs
    await until(() => lists.every((timesMs) => (timesMs.at(-1) ?? 0) > arrivedMs)) // whose last gap has an end
    return { largestGapMs: largestGap(lists, sentMs, arrivedMs), firstTokenMs }
  }
  try {
    return await Promise.race([arrive(), ...streams.map(({ end }) => end)])
  } finally {
    leave.abort()
    await Promise.allSettled(streams.map(({ end }) => end))
    client.close()
  }
}

interface Following {
  readonly tokens: readonly number[]
  readonly maxTokens: number
  readonly timesMs: number[] // grows by one per chunk
  readonly signal: AbortSignal
}

/** Never returns: a stream is left, or it has ended too early. */
async function follow(client: BanyanClient, { tokens, maxTokens, timesMs, signal }: Following): Promise<never> {
  const sampling = { temperature: 0, maxTokens, ignoreEos: true }
  for await (const event of client.generate({ tokens, sampling }, { signal })) {
    if (event.type === 'chunk') timesMs.push(performance.now())
  }
  throw new Error(`stream: want it to outlast the prompt’s prefill, found it at its end after ${maxTokens} tokens`)
}

/** The longest time between two neighbours of an ascending list, of those that have a part in from … to. */
export function largestGap(lists: readonly (readonly number[])[], from: number, to: number): number {
  const gaps = lists.flatMap((times) =>
    times.slice(1).flatMap((end, i) => {
      const start = times[i] ?? end
      return end > from && start < to ? [end - start] : []
    }),
  )
  return Math.max(0, ...gaps)
}
