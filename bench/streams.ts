// Concurrent streams against one gRPC address, as a client sees them.

import { BanyanClient } from '../sdk/src/index.js'

export interface Measurement {
  readonly tokensPerSecond: number // all streams, wall clock
  readonly ttftMs: number // median over the streams, first non-empty chunk minus send
}

const PROMPTS = ['export interface ', 'export declare function ', 'import { ', '/** Returns ', 'export class ']

export async function runStreams(options: {
  readonly address: string
  readonly streams: number
  readonly tokens: number
  readonly seed: number
}): Promise<Measurement> {
  const client = new BanyanClient({ address: options.address })
  const started = performance.now()
  let numTokens = 0
  const firsts: number[] = []
  const stream = async (i: number): Promise<void> => {
    let isFirst = true
    const sampling = { temperature: 0, maxTokens: options.tokens, ignoreEos: true }
    const text = `${PROMPTS[i % PROMPTS.length] ?? ''}${options.seed + 2}${i}`
    for await (const event of client.generate({ text, sampling })) {
      if (event.type !== 'chunk') continue
      if (isFirst) firsts.push(performance.now() - started)
      isFirst = false
      numTokens += event.tokenIds.length
    }
  }
  await Promise.all(Array.from({ length: options.streams }, (_, i) => stream(i)))
  const seconds = (performance.now() - started) / 1000
  client.close()
  const ordered = firsts.sort((a, b) => a - b)
  return { tokensPerSecond: numTokens / seconds, ttftMs: ordered[Math.floor(ordered.length / 2)] ?? NaN }
}
