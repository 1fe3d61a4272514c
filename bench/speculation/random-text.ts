// Where drafts cannot help: prompts of random ids, greedy and at a temperature that draws nearly anything. Speculation has
// to notice and to leave it at that. One cluster answers with drafts and without, as each request says, because two
// clusters that do the same differ by 5 % for as long as they live; what chance does is seen by asking without twice.

import type { BanyanClient } from '../../sdk/src/index.js'
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
  readonly offAgain: readonly number[]
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
const TURNS = ['auto', 'off', 'offAgain'] as const
type Turn = (typeof TURNS)[number]

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
    // Without the prefix cache: a pair's first turn would compute the prompts for the others.
    const flags = ['--transport', transport, '--draft', 'auto', '--prefix-cache', 'off']
    rows.push(...(await withSides({ auto: flags }, ([side]) => measureOn(transport, side!, options))))
  }
  return rows
}

async function measureOn(transport: string, { client }: Side, options: RandomOptions): Promise<RandomRow[]> {
  const { pairs, tokenShare, notify } = options
  const { vocabSize } = await client.modelInfo()
  const rows: RandomRow[] = []
  for (const [streams, most] of Object.entries(TOKENS)) {
    for (const temperature of TEMPERATURES) {
      const speeds: Record<Turn, number[]> = { auto: [], off: [], offAgain: [] } // grow by pair
      const row = { transport, streams: Number(streams), temperature, ...speeds }
      for (let pair = -NUM_WARMING; pair < pairs; pair++) {
        const numTokens = Math.ceil(most * tokenShare)
        const measured = await measurePair(client, { ...row, numTokens, pair, vocabSize })
        if (pair >= 0) for (const turn of TURNS) speeds[turn].push(measured.get(turn) ?? NaN)
      }
      rows.push(row)
      notify(`random, ${transport}, ${streams} streams, temperature ${temperature}: ${formatMedian(gain(row))}`)
    }
  }
  return rows
}

/** Tokens per second by turn. Throws where the answers differ. */
async function measurePair(client: BanyanClient, task: Case): Promise<ReadonlyMap<Turn, number>> {
  const speeds = new Map<Turn, number>()
  const answers = new Map<Turn, readonly Answer[]>()
  await takeTurns(task.pair + NUM_WARMING, TURNS, async (turn) => {
    const requests = requestsOf(task).map((request) => ({ ...request, speculation: turn === 'auto' }))
    const startMs = performance.now()
    const all = await Promise.all(requests.map((request) => ask(client, request)))
    speeds.set(turn, (1000 * task.streams * task.numTokens) / (performance.now() - startMs))
    answers.set(turn, all)
  })
  const { streams, temperature, pair } = task
  for (const turn of ['auto', 'offAgain'] as const) {
    answers.get(turn)?.forEach((answer, i) => {
      const what = `random, ${streams} streams, temperature ${temperature}, pair ${pair}, ${turn}, stream ${i}`
      checkEqual(what, answer, answers.get('off')?.[i] ?? { tokenIds: [] })
    })
  }
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
export const chance = ({ offAgain, off }: RandomRow): number[] => ratios(offAgain, off)

export const randomGoal = (row: RandomRow): Goal => {
  const what = `random, ${row.transport}, ${row.streams} streams, temperature ${row.temperature}: tokens/s, auto / off`
  return atLeast(what, NEVER_SLOWER, gain(row), formatMedian)
}
