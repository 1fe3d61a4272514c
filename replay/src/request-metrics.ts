// What one answer measures, by the definitions that a report prints.
//
// Invariants
//   D1  Latencies count from when the request was due, so that a generator or an endpoint that falls behind cannot hide
//       it (no coordinated omission); `fromSend` counts from when it was sent.
//   D2  Token counts are the endpoint's ids, else its usage, else one per chunk; which of these is said.

import type { Answer, AnswerChoice } from './measure.js'
import { joined, mean, total } from './statistics.js'

export interface RequestMetrics {
  readonly ttftMs: number | undefined // undefined of an answer without output
  readonly ttftFromSendMs: number | undefined
  readonly ttstMs: number | undefined
  readonly itlMs: Float64Array
  readonly tpotMs: number | undefined
  readonly e2eMs: number
  readonly e2eFromSendMs: number
  readonly inputTokens: number | undefined
  readonly cachedTokens: number | undefined // of these, as the endpoint tells: they were in its prefix cache
  readonly usageTokens: number | undefined // output, as the endpoint's usage counts it
  readonly outputTokens: number // of all choices
  readonly choiceTokens: readonly number[]
  readonly tokensPerChunk: Float64Array
  readonly isEstimated: boolean // output tokens are counted by chunks
}

interface CountedChoice {
  readonly times: Float64Array
  readonly chunkTokens: Float64Array
  readonly numTokens: number
}

const measured = new WeakMap<Answer, RequestMetrics>()

/** Table, lines and page ask the same: an answer is measured once. */
export function measureAnswer(answer: Answer): RequestMetrics {
  const metrics = measured.get(answer) ?? measure(answer)
  measured.set(answer, metrics)
  return metrics
}

function measure(answer: Answer): RequestMetrics {
  const { dispatch, choices, completionTokens, endMs } = answer
  const { scheduledMs, sentMs } = dispatch
  const perChoice = choices.map((choice) => countTokens(choice, choices.length === 1 ? completionTokens : undefined))
  const firsts = perChoice.flatMap(({ times }) => times[0] ?? [])
  const lasts = perChoice.flatMap(({ times }) => times.at(-1) ?? [])
  const seconds = perChoice.flatMap(({ times: [first = 0, second] }) => (second === undefined ? [] : [second - first]))
  const firstMs = least(firsts)
  const lastMs = lasts.length === 0 ? endMs : Math.max(...lasts)
  const perToken = perChoice.flatMap(({ times, numTokens }) => {
    const [first] = times
    const last = times.at(-1)
    return first === undefined || last === undefined || numTokens < 2 ? [] : [(last - first) / (numTokens - 1)]
  })
  const counted = perChoice.reduce((sum, { numTokens }) => sum + numTokens, 0)
  const isTold = choices.every(({ tokenIds }) => tokenIds !== undefined)
  return {
    ttftMs: firstMs === undefined ? undefined : firstMs - scheduledMs,
    ttftFromSendMs: firstMs === undefined ? undefined : firstMs - sentMs,
    ttstMs: least(seconds),
    itlMs: joined(perChoice.map(({ times }) => times.subarray(1).map((time, i) => time - times[i]!))),
    tpotMs: perToken.length === 0 ? undefined : mean(perToken),
    e2eMs: lastMs - scheduledMs,
    e2eFromSendMs: lastMs - sentMs,
    inputTokens: answer.promptTokens,
    cachedTokens: answer.cachedTokens,
    usageTokens: completionTokens,
    outputTokens: isTold ? counted : (completionTokens ?? counted),
    choiceTokens: perChoice.map(({ numTokens }) => numTokens),
    tokensPerChunk: joined(perChoice.map(({ chunkTokens }) => chunkTokens)),
    isEstimated: !isTold && completionTokens === undefined,
  }
}

const least = (values: readonly number[]): number | undefined => (values.length === 0 ? undefined : Math.min(...values))

/** Where ids are not told, the choice's tokens are spread evenly over its chunks. */
function countTokens({ chunks, tokenIds }: AnswerChoice, told: number | undefined): CountedChoice {
  const { times } = chunks
  if (tokenIds !== undefined) {
    const chunkTokens = Float64Array.from(chunks.counts).map((count) => Math.max(0, count))
    return { times, chunkTokens, numTokens: total(chunkTokens) }
  }
  const numTokens = told ?? chunks.length
  const share = chunks.length === 0 ? 0 : numTokens / chunks.length
  return { times, chunkTokens: new Float64Array(chunks.length).fill(share), numTokens }
}
