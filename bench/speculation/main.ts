// `npm run bench:speculation`: what drafted trees bring on the demonstration model, and that they never cost much.

import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from '../machine.js'
import { writeSection } from '../report.js'
import { CONTESTS } from './contests.js'
import { measureContest } from './measure.js'
import { measureRandom } from './random-text.js'
import { goalsOf, speculationSection, type Measured, type SpeculationResults } from './section.js'

const WARMING_STEPS = 2000 // a fresh process's steps take twice as long as those after so many
const QUICK_NAMES = ['greedy', 'sampled', 'copying', 'random'] // the others are many clusters to start
const NAMES = [...CONTESTS.map(({ name }) => name), 'random']

const USAGE = `usage: npm run bench:speculation -- [flags]
  --only LIST       some of ${NAMES.join()} (default: all)
  --rounds N        counted rounds of the comparisons on one stream (default: 1)
  --pairs N         of measurements on random prompts, each kind (default: 20)
  --transport KIND  local or nats (default: nats, random prompts on both)
  --quick           for a look: one process, 4 prompts of 48 tokens, 2 pairs, ${QUICK_NAMES.join()},
                    unless other flags say so
  --json            prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string' },
    pairs: { type: 'string' },
    transport: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const names = flags.only?.split(',') ?? (flags.quick ? QUICK_NAMES : NAMES)
  const stray = names.find((name) => !NAMES.includes(name))
  if (stray !== undefined) throw new Error(`--only: want some of ${NAMES.join()}, found ${stray}`)
  const results = await measureAll(names)
  if (flags.json) {
    const { contests, ...rest } = results
    const plain = { machine, goals: goalsOf(results), contests: contests.map(({ result }) => result), ...rest }
    return console.log(JSON.stringify(plain))
  }
  const section = speculationSection(results, machineLine(machine))
  writeSection('speculation', section)
  console.log(section)
}

async function measureAll(names: readonly string[]): Promise<SpeculationResults> {
  const notify = (words: string): void => void process.stderr.write(`${words}\n`)
  const { quick } = flags
  const transport = flags.transport ?? (quick ? 'local' : 'nats')
  const rounds = Number(flags.rounds ?? 1)
  const pairs = Number(flags.pairs ?? (quick ? 2 : 20))
  const [numPrompts, numTokens, warmingSteps] = quick ? [4, 48, 64] : [40, 128, WARMING_STEPS]
  const contests: Measured[] = []
  for (const contest of CONTESTS.filter(({ name }) => names.includes(name))) {
    const result = await measureContest(contest, { transport, rounds, numPrompts, numTokens, warmingSteps, notify })
    contests.push({ contest, result })
  }
  const transports = flags.transport === undefined && !quick ? ['local', 'nats'] : [transport]
  const random = names.includes('random')
    ? await measureRandom({ transports, pairs, tokenShare: quick ? 0.125 : 1, notify })
    : []
  return { contests, random, transport, rounds, pairs, numPrompts, numTokens, warmingSteps }
}

if (flags.help) console.log(USAGE)
else await main()
