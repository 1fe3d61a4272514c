// A contest: its clusters side by side, every prompt to each of them in turn, round after round.
//
// Invariants
//   S1  All sides' answers to a prompt are the same tokens, or the run fails.
//   S2  A prompt's answers come one right after the other: their ratio is of the same second of this machine.
//   S3  No side may draft from what it answered in an earlier round, or has its KV: every round is the first.
//   S4  Before the first round every side has taken as many steps: what it runs is compiled by their number, not by the
//       number of tokens, of which a step with drafts has several.

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
  readonly warmingSteps: number // S4
  readonly notify: (words: string) => void
}

const FIRST_SEED = 1000
const FIRST_WARMING_SEED = 1_000_000

/** S3. */
const FIRST_TIME = ['--draft-sharing', 'off', '--prefix-cache', 'off', '--prefill-chunk', `${PREFILL_CHUNK}`]

interface Round {
  readonly answers: ReadonlyMap<string, readonly Answer[]> // by side, one per prompt
  readonly predictionErrors: ReadonlyMap<string, number>
}

export function measureContest(contest: Contest, options: ContestOptions): Promise<ContestResult> {
  const { transport, rounds, numPrompts, numTokens, warmingSteps, notify } = options
  const prompts = promptsOf(contest.prompts, numPrompts)
  const common = ['--transport', transport, ...FIRST_TIME]
  const flags = Object.entries(contest.sides).map(([side, words]) => [side, [...common, ...words]] as const)
  return withSides(Object.fromEntries(flags), async (sides) => {
    const task = { contest, sides, prompts, numTokens }
    for (const side of sides) {
      await warm(side, task, warmingSteps)
      notify(`${contest.name}: ${side.name} is warm`)
    }
    const counted: Round[] = []
    for (let round = 1; round <= rounds; round++) {
      counted.push(await measureRound(task))
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

interface Task {
  readonly contest: Contest
  readonly sides: readonly Side[]
  readonly prompts: readonly string[]
  readonly numTokens: number
}

const samplingOf = ({ contest: { temperature }, numTokens }: Task, seed: number) => ({
  temperature,
  seed: BigInt(seed),
  maxTokens: numTokens,
  ignoreEos: true,
})

/** Asks a side for at least so many steps (S4); its seeds are no round's. */
async function warm({ client }: Side, task: Task, leastSteps: number): Promise<void> {
  for (let i = 0, numSteps = 0; numSteps < leastSteps; i++) {
    const text = task.prompts[i % task.prompts.length] ?? ''
    numSteps += (await ask(client, { text, sampling: samplingOf(task, FIRST_WARMING_SEED + i) })).steps
  }
}

async function measureRound(task: Task): Promise<Round> {
  const { contest, sides, prompts } = task
  const answers = new Map<string, Answer[]>(sides.map(({ name }) => [name, []]))
  for (const [i, text] of prompts.entries()) {
    const sampling = samplingOf(task, FIRST_SEED + i)
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
