// The rows that both sides run in turn, round after round, with the same prompts.
//
// Invariants
//   W1  A round's two values of a row come one right after the other: their ratio is of the same minute of this machine.
//   W2  llama.cpp's setting of a row is the fastest of those tried before the first round.
//   W3  The tokens that were timed are the tokens that an untimed run of each stream alone gives.

import { setTimeout as sleep } from 'node:timers/promises'
import { QUIET_MS } from '../in-turn.js'
import { ratios } from '../statistics.js'
import { decodeRate, prefillRate, type Contender } from './contender.js'
import { drawPrompts } from './prompts.js'
import type { Decoded, LlamaSetting, Timeline } from './protocol.js'
import { candidates, type Theirs } from './theirs.js'

export interface RowSize {
  readonly kind: 'prefill' | 'decode'
  readonly promptTokens: number
  readonly streams: number
  readonly numTokens: number // to generate, each stream
}

export interface Agreement {
  readonly equal: number
  readonly compared: number
}

export interface RowResult extends RowSize {
  readonly ours: readonly number[] // tokens per second, one per round
  readonly theirs: readonly number[]
  readonly ratios: readonly number[] // ours / theirs
  readonly setting: LlamaSetting // of theirs
  readonly insideShares: readonly number[] // share of llama.cpp's decode time that is inside llama_decode
  readonly repeated: Agreement // timed tokens of ours against an untimed run
  readonly firstTokens: Agreement // ours against theirs: do both compute the same model?
}

export interface RowOptions {
  readonly rounds: number
  readonly threads: number
  readonly attempts: number // with each setting of llama.cpp
  readonly vocabSize: number
  readonly notify: (words: string) => void
}

type Prompts = readonly (readonly number[])[]

interface Round {
  readonly prompts: Prompts
  readonly ours: Timeline
  readonly theirs: Decoded
}

const DECODE_PROMPT = 16 // tokens
const NUM_REPEATED = 8 // streams that are run again alone

/** Prefill up to the model's context, decode with 1 to 64 streams. */
export function rowSizes(maxPositions: number, decodeTokens: number): RowSize[] {
  const prefill = [32, 512, 2048].map((tokens): RowSize => {
    return { kind: 'prefill', promptTokens: Math.min(tokens, maxPositions - 2), streams: 1, numTokens: 1 }
  })
  const decode = [1, 4, 16, 64].map((streams): RowSize => {
    return { kind: 'decode', promptTokens: DECODE_PROMPT, streams, numTokens: decodeTokens }
  })
  return [...prefill, ...decode]
}

/** Every row in turn, round after round; the first round warms up and is not counted. */
export async function measureRows(
  sides: { readonly ours: Contender; readonly theirs: Theirs },
  sizes: readonly RowSize[],
  options: RowOptions,
): Promise<RowResult[]> {
  const rows: { size: RowSize; setting: LlamaSetting; rounds: Round[] }[] = []
  for (const size of sizes) {
    rows.push({ size, setting: await fastestSetting(sides.theirs, size, options), rounds: [] })
  }
  for (let round = 0; round <= options.rounds; round++) {
    for (const { size, setting, rounds } of rows) {
      const prompts = promptsOf(size, round, options.vocabSize)
      await sleep(QUIET_MS)
      const ours = await sides.ours.decode(prompts, size.numTokens)
      await sleep(QUIET_MS)
      const theirs = await sides.theirs.decodeWith(prompts, size.numTokens, setting)
      checkLength(size, ours, theirs)
      if (round > 0) rounds.push({ prompts, ours, theirs })
    }
    options.notify(`round ${round} of ${options.rounds}`)
  }
  const results: RowResult[] = []
  for (const { size, setting, rounds } of rows) {
    results.push({ ...size, setting, ...rates(size, rounds), repeated: await repeat(sides.ours, rounds.at(-1)) })
  }
  return results
}

/** Rates are only compared of sides that did the same work. */
function checkLength({ streams, numTokens }: RowSize, ...timelines: readonly Timeline[]): void {
  for (const length of timelines.flatMap(({ tokens }) => tokens.map((stream) => stream.length))) {
    if (length !== numTokens) throw new Error(`${streams} streams: want ${numTokens} tokens of each, found ${length}`)
  }
}

const promptsOf = (size: RowSize, round: number, vocabSize: number): Prompts =>
  drawPrompts({
    seed: round * 100_000 + size.promptTokens * 100 + size.streams,
    count: size.streams,
    length: size.promptTokens,
    vocabSize,
  })

const rateOf = ({ kind, promptTokens }: RowSize, timeline: Timeline): number =>
  kind === 'prefill' ? prefillRate(promptTokens, timeline) : decodeRate(timeline)

/** Tries every setting that can matter and returns the one with the best single value. */
async function fastestSetting(theirs: Theirs, size: RowSize, options: RowOptions): Promise<LlamaSetting> {
  const tried: { readonly rate: number; readonly setting: LlamaSetting }[] = []
  for (const setting of candidates(size, options.threads)) {
    for (let attempt = 1; attempt <= options.attempts; attempt++) {
      const prompts = promptsOf(size, -attempt, options.vocabSize)
      const timeline = await theirs.decodeWith(prompts, Math.min(size.numTokens, 16), setting)
      tried.push({ rate: rateOf(size, timeline), setting })
    }
  }
  return tried.reduce((best, next) => (next.rate > best.rate ? next : best)).setting
}

function rates(size: RowSize, rounds: readonly Round[]): Omit<RowResult, keyof RowSize | 'setting' | 'repeated'> {
  const ours = rounds.map((round) => rateOf(size, round.ours))
  const theirs = rounds.map((round) => rateOf(size, round.theirs))
  const first = ({ tokens }: Timeline): number[] => tokens.map((stream) => stream[0] ?? -1)
  return {
    ours,
    theirs,
    ratios: ratios(ours, theirs),
    insideShares: size.kind === 'prefill' ? [] : rounds.map((round) => insideShare(round.theirs)),
    firstTokens: agreement(
      rounds.flatMap((round) => first(round.ours)),
      rounds.flatMap((round) => first(round.theirs)),
    ),
  }
}

/** The decode steps lie between the last stream's first token and the end. */
function insideShare({ timesMs, insideMs }: Decoded): number {
  const start = Math.max(...timesMs.map((times) => times[0] ?? NaN))
  return insideMs / (Math.max(...timesMs.map((times) => times.at(-1) ?? NaN)) - start)
}

/** Runs the round's first streams again, each alone, and compares with what came out under the clock. */
async function repeat(ours: Contender, round: Round | undefined): Promise<Agreement> {
  let total: Agreement = { equal: 0, compared: 0 }
  for (const [stream, prompt] of (round?.prompts ?? []).slice(0, NUM_REPEATED).entries()) {
    const timed = round?.ours.tokens[stream] ?? []
    const [again = []] = (await ours.decode([prompt], timed.length)).tokens
    const { equal, compared } = agreement(timed, again)
    total = { equal: total.equal + equal, compared: total.compared + compared }
  }
  return total
}

const agreement = (some: readonly number[], others: readonly number[]): Agreement => ({
  equal: some.filter((token, i) => token === others[i]).length,
  compared: Math.max(some.length, others.length),
})
