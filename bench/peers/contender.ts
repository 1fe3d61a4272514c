// What both sides of the comparison can be asked for, and how a request's timeline becomes a rate.

import type { ResidentMemory, Timeline } from './protocol.js'

export interface Contender {
  /** One stream per prompt at once, each with exactly that many greedy tokens; one token of one prompt is a prefill. */
  decode(prompts: readonly (readonly number[])[], numTokens: number): Promise<Timeline>
  memory(): ResidentMemory
  stop(): Promise<void>
}

/** Prompt tokens per second up to the first token, sampling included. */
export function prefillRate(numPromptTokens: number, { timesMs }: Timeline): number {
  return (numPromptTokens / (timesMs[0]?.[0] ?? NaN)) * 1000
}

/**
 * Tokens per second while every stream decodes: all tokens after the last stream's first one, up to the first stream's
 * last one. What one side needs to get all streams going is so left out on both. NaN where there is no such time.
 */
export function decodeRate({ timesMs }: Timeline): number {
  const start = Math.max(...timesMs.map((times) => times[0] ?? NaN))
  const end = Math.min(...timesMs.map((times) => times.at(-1) ?? NaN))
  const numTokens = timesMs.flat().filter((time) => time > start && time <= end).length
  return end > start ? (numTokens / (end - start)) * 1000 : NaN
}

/** Tokens per second from the request to its last token, whether or not the streams ran at the same time. */
export function wallRate({ timesMs }: Timeline): number {
  const times = timesMs.flat()
  return times.length > 0 ? (times.length / Math.max(...times)) * 1000 : NaN
}
