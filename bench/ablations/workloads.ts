// What a means is judged by: work that a cluster is given, and the figures that come out. Each is a function of the side,
// the model and the round alone; prompts differ from round to round.

import type { ModelFacts } from '../peers/checkpoints.js'
import { startOnce } from '../peers/cold-start.js'
import { decodeRate, prefillRate, wallRate } from '../peers/contender.js'
import type { Timeline } from '../peers/protocol.js'
import { drawPrompts } from '../peers/prompts.js'
import { askFirstToken, drawSharedPrefix } from '../shared-prefix.js'
import { median } from '../statistics.js'
import { runStreams } from '../streams.js'
import { measureArrival } from './arrival.js'
import type { Side } from './side.js'

export interface Task {
  readonly model: ModelFacts
  readonly round: number
  readonly numTokens: number // that a stream decodes
}

export interface Measure {
  readonly name: string // with its unit
  readonly better: 'more' | 'less'
}

export interface Workload {
  readonly measures: readonly Measure[]
  readonly needsText?: boolean // and so a model with a tokenizer
  /** One value for each of `measures`. */
  readonly run: (side: Side, task: Task) => Promise<readonly number[]>
}

const SHORT_PROMPT = 16 // tokens
const LONG_PROMPT = 1536
const NUM_DECODING = 8
const NUM_SHARING = 4

const plural = (streams: number): string => `${streams} stream${streams > 1 ? 's' : ''}`

/** Different prompts of one length; `kind` keeps those of different workloads apart. */
const promptsOf = ({ model, round }: Task, kind: number, count: number, length: number): number[][] =>
  drawPrompts({ seed: round * 1000 + kind * 100 + count, count, length, vocabSize: model.vocabSize })

async function decodeStreams(side: Side, task: Task, streams: number, length = SHORT_PROMPT): Promise<Timeline> {
  const ours = await side.running()
  return ours.decode(promptsOf(task, 1, streams, length), task.numTokens)
}

/** Streams that decode at the same time. */
export const decode = (streams: number): Workload => ({
  measures: [{ name: `decode ${plural(streams)}, tokens/s`, better: 'more' }],
  run: async (side, task) => [decodeRate(await decodeStreams(side, task, streams))],
})

/** The same behind long prompts. */
export const decodeBehind = (length: number, streams: number): Workload => ({
  measures: [{ name: `decode ${plural(streams)} behind ${length} tokens, tokens/s`, better: 'more' }],
  run: async (side, task) => [decodeRate(await decodeStreams(side, task, streams, length))],
})

/** The same requests where they may have to wait for one another. */
export const answer = (streams: number): Workload => ({
  measures: [{ name: `${streams} requests at once, tokens/s until all are answered`, better: 'more' }],
  run: async (side, task) => [wallRate(await decodeStreams(side, task, streams))],
})

/** Streams that write text, which drafts can be looked up in. */
export const write = (streams: number): Workload => ({
  measures: [{ name: `text, ${plural(streams)}, tokens/s`, better: 'more' }],
  needsText: true,
  run: async (side, { round: seed, numTokens: tokens }) => {
    const { up } = await side.running()
    return [(await runStreams({ address: up.grpc, streams, tokens, seed })).tokensPerSecond]
  },
})

export const prefill = (length: number): Workload => ({
  measures: [{ name: `prompt of ${length}, tokens/s`, better: 'more' }],
  run: async (side, task) => {
    const ours = await side.running()
    return [prefillRate(length, await ours.decode(promptsOf(task, 2, 1, length), 1))]
  },
})

export const arrival: Workload = {
  measures: [
    { name: `${NUM_DECODING} streams while a long prompt comes: largest gap, ms`, better: 'less' },
    { name: 'that prompt: time to first token, ms', better: 'less' },
  ],
  run: async (side, task) => {
    const { maxPositions } = task.model
    const [arriving = []] = promptsOf(task, 3, 1, Math.min(LONG_PROMPT, maxPositions - 2))
    const decoding = promptsOf(task, 4, NUM_DECODING, SHORT_PROMPT)
    const maxTokens = maxPositions - SHORT_PROMPT - 1
    const { largestGapMs, firstTokenMs } = await measureArrival(await side.running(), { decoding, maxTokens, arriving })
    return [largestGapMs, firstTokenMs]
  },
}

export const start: Workload = {
  measures: [{ name: 'start to first token, ms', better: 'less' }],
  run: async (side, task) => [(await startOnce(() => side.start(), promptsOf(task, 5, 1, SHORT_PROMPT))).firstTokenMs],
}

/** The first of them only lays the ground. */
export const sharedPrefix = (prefixTokens: number): Workload => ({
  measures: [{ name: `prefix of ${prefixTokens} seen before: time to first token, ms`, better: 'less' }],
  run: async (side, { model: { vocabSize }, round: seed }) => {
    const ours = await side.running()
    const timesMs: number[] = []
    const prompts = drawSharedPrefix({ seed, count: 1 + NUM_SHARING, prefixTokens, ownTokens: SHORT_PROMPT, vocabSize })
    for (const prompt of prompts) timesMs.push((await askFirstToken(ours, prompt)).ms)
    return [median(timesMs.slice(1))]
  },
})
