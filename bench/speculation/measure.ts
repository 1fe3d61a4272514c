// A contest: its clusters side by side, every prompt to each of them in turn, round after round.
//
// Invariants
//   S1  All sides' answers to a prompt are the same tokens, or the run fails.
//   S2  A prompt's answers come one right after the other: their ratio is of the same second of this machine.
//   S3  No side may draft from what it answered in an earlier round, or has its KV: every round is the first.

import { takeTurns } from '../in-turn.js'
import {
  ask,
  checkEqual,
  decodeSpeed,
  PREFILL_CHUNK,
  stepMs,
  tokensPerStep,
  wholeSpeed,
  type Answer,
} from './answer.js'
import type { Contest } from './contests.js'
import { copyingPrompts, readHeldOut, repetition, type Repetition } from './prompts.js'
import { withSides, type Side } from './side.js'

export interface SideResult {
  readonly side: string
  readonly speed: readonly number[] // one per round, as the next ones: decoding, tokens/s
  readonly wholeSpeed: readonly number[] // prefill included
  readonly tau: readonly number[]
  readonly stepMs: readonly number[]
  readonly predictionError: readonly number[]
  readonly promptSpeed: readonly number[] // decoding, one per prompt and round
}

export interface ContestResult {
  readonly name: string
  readonly baseline: string
  readonly sides: readonly SideResult[]
  readonly repetition: readonly Repetition[] // one per prompt
}

export interface ContestOptions {
  readonly transport: string
  readonly rounds: number
  readonly numPrompts: number
  readonly numTokens: number
  readonly notify: (words: string) => void
}

const FIRST_SEED = 1000
const NUM_WARMING = 8 // prompts of the round that is not counted

/** S3. */
const FIRST_TIME = ['--draft-sharing', 'off', '--prefix-cache', 'off', '--prefill-chunk', `${PREFILL_CHUNK}`]

interface Round {
  readonly answers: ReadonlyMap<string, readonly Answer[]> // by side, one per prompt
  readonly predictionErrors: ReadonlyMap<string, number>
}

export function measureContest(contest: Contest, options: ContestOptions): Promise<ContestResult> {
  const { transport, rounds, numPrompts, notify } = options
  const prompts = promptsOf(contest.prompts, numPrompts)
  const common = ['--transport', transport, ...FIRST_TIME]
  const flags = Object.entries(contest.sides).map(([side, words]) => [side, [...common, ...words]] as const)
  return withSides(Object.fromEntries(flags), async (sides) => {
    const counted: Round[] = []
    for (let round = 0; round <= rounds; round++) {
      const asked = round === 0 ? prompts.slice(0, NUM_WARMING) : prompts
      const measured = await measureRound({ contest, sides, prompts: asked, numTokens: options.numTokens })
      if (round > 0) counted.push(measured)
      notify(`${contest.name}: round ${round} of ${rounds}`)
    }
    return toResult(contest, prompts, counted)
  })
}

function promptsOf(kind: Contest['prompts'], count: number): string[] {
  const all = readHeldOut()
  if (kind === 'held-out') return all.slice(0, count).map(({ text }) => text)
  const code = all.filter(({ name }) => name.endsWith('.ts'))
  return copyingPrompts(
    code.map(({ text }) => text),
    count,
  )
}

async function measureRound(task: {
  readonly contest: Contest
  readonly sides: readonly Side[]
  readonly prompts: readonly string[]
  readonly numTokens: number
}): Promise<Round> {
  const { contest, sides, prompts, numTokens } = task
  const answers = new Map<string, Answer[]>(sides.map(({ name }) => [name, []]))
  for (const [i, text] of prompts.entries()) {
    const seed = BigInt(FIRST_SEED + i)
    const sampling = { temperature: contest.temperature, seed, maxTokens: numTokens, ignoreEos: true }
    await takeTurns(i, sides, async ({ name, client }) => {
      answers.get(name)?.push(await ask(client, { text, sampling }))
    })
    checkAnswers(contest, answers, i)
  }
  const errors = await Promise.all(sides.map(async (side) => [side.name, await side.predictionError()] as const))
  return { answers, predictionErrors: new Map(errors) }
}

/** S1, of the prompt at that place. */
function checkAnswers(
  { name, baseline }: Contest,
  answers: ReadonlyMap<string, readonly Answer[]>,
  prompt: number,
): void {
  const nothing = { tokenIds: [] }
  for (const [side, list] of answers) {
    const want = answers.get(baseline)?.[prompt] ?? nothing
    checkEqual(`${name}, prompt ${prompt}, ${side} against ${baseline}`, list[prompt] ?? nothing, want)
  }
}

function toResult(
  { name, baseline, sides }: Contest,
  prompts: readonly string[],
  rounds: readonly Round[],
): ContestResult {
  const [first] = rounds
  return {
    name,
    baseline,
    sides: Object.keys(sides).map((side) => {
      const answers = rounds.map((round) => round.answers.get(side) ?? [])
      return {
        side,
        speed: answers.map(decodeSpeed),
        wholeSpeed: answers.map(wholeSpeed),
        tau: answers.map(tokensPerStep),
        stepMs: answers.map(stepMs),
        predictionError: rounds.map((round) => round.predictionErrors.get(side) ?? NaN),
        promptSpeed: answers.flat().map((answer) => decodeSpeed([answer])),
      }
    }),
    repetition: (first?.answers.get(baseline) ?? []).map(({ text }, i) => repetition(prompts[i] ?? '', text)),
  }
}
