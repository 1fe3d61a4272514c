// Where drafts cannot help: prompts of random ids, greedy and at a temperature that draws nearly anything. Speculation has
// to notice and to leave it at that.

import { takeTurns } from '../in-turn.js'
import { drawPrompts } from '../peers/prompts.js'
import { formatMedian, ratios } from '../statistics.js'
import { ask, checkEqual, type Answer } from './answer.js'
import { atLeast, NEVER_SLOWER, type Goal } from './goals.js'
import { withSides, type Side } from './side.js'

export interface RandomRow {
  readonly transport: string
  readonly streams: number
  readonly temperature: number
  readonly auto: readonly number[] // tokens/s of all streams until all are answered; one per pair
  readonly off: readonly number[]
}

export interface RandomOptions {
  readonly transports: readonly string[]
  readonly pairs: number
  readonly tokenShare: number // of the tokens below; less for a look
  readonly notify: (words: string) => void
}

/** More tokens for fewer streams, so that each measurement takes about a second. */
const TOKENS: Readonly<Record<number, number>> = { 1: 256, 4: 192, 16: 128, 64: 64 }
const TEMPERATURES = [0, 1.5]
const PROMPT_TOKENS = 32
const NUM_WARMING = 2 // pairs that are not counted
const SIDES = { auto: ['--draft', 'auto'], off: ['--draft', 'off'] }

interface Case {
  readonly streams: number
  readonly temperature: number
  readonly numTokens: number
  readonly pair: number
  readonly vocabSize: number
}

export async function measureRandom(options: RandomOptions): Promise<RandomRow[]> {
  const rows: RandomRow[] = []
  for (const transport of options.transports) {
    const flags = Object.entries(SIDES).map(([side, words]) => [side, ['--transport', transport, ...words]] as const)
    rows.push(...(await withSides(Object.fromEntries(flags), (sides) => measureOn(transport, sides, options))))
  }
  return rows
}

async function measureOn(transport: string, sides: readonly Side[], options: RandomOptions): Promise<RandomRow[]> {
  const { pairs, tokenShare, notify } = options
  const vocabSize = (await sides[0]?.client.modelInfo())?.vocabSize ?? NaN
  const rows: RandomRow[] = []
  for (const [streams, most] of Object.entries(TOKENS)) {
    for (const temperature of TEMPERATURES) {
      const row = { transport, streams: Number(streams), temperature, auto: [] as number[], off: [] as number[] } // grow by pair
      for (let pair = -NUM_WARMING; pair < pairs; pair++) {
        const numTokens = Math.ceil(most * tokenShare)
        const speeds = await measurePair(sides, { ...row, numTokens, pair, vocabSize })
        if (pair < 0) continue
        row.auto.push(speeds.get('auto') ?? NaN)
        row.off.push(speeds.get('off') ?? NaN)
      }
      rows.push(row)
      notify(`random, ${transport}, ${streams} streams, temperature ${temperature}: ${formatMedian(gain(row))}`)
    }
  }
  return rows
}

/** Tokens per second by side. Throws where the answers differ. */
async function measurePair(sides: readonly Side[], task: Case): Promise<ReadonlyMap<string, number>> {
  const speeds = new Map<string, number>()
  const answers = new Map<string, readonly Answer[]>()
  await takeTurns(task.pair + NUM_WARMING, sides, async ({ name, client }) => {
    const requests = requestsOf(task)
    const startMs = performance.now()
    const all = await Promise.all(requests.map((request) => ask(client, request)))
    speeds.set(name, (1000 * task.streams * task.numTokens) / (performance.now() - startMs))
    answers.set(name, all)
  })
  const { streams, temperature, pair } = task
  answers.get('auto')?.forEach((answer, i) => {
    const what = `random, ${streams} streams, temperature ${temperature}, pair ${pair}, stream ${i}`
    checkEqual(what, answer, answers.get('off')?.[i] ?? { tokenIds: [] })
  })
  return speeds
}

function requestsOf({ streams, temperature, numTokens, pair, vocabSize }: Case) {
  const seed = 1 + pair + NUM_WARMING + 1000 * streams + 100_000 * temperature
  const prompts = drawPrompts({ seed, count: streams, length: PROMPT_TOKENS, vocabSize })
  return prompts.map((tokens, i) => ({
    tokens,
    sampling: { temperature, topP: 1, seed: BigInt(i), maxTokens: numTokens, ignoreEos: true },
  }))
}

export const gain = ({ auto, off }: RandomRow): number[] => ratios(auto, off)

export const randomGoal = (row: RandomRow): Goal => {
  const what = `random, ${row.transport}, ${row.streams} streams, temperature ${row.temperature}: tokens/s, auto / off`
  return atLeast(what, NEVER_SLOWER, gain(row), formatMedian)
}
