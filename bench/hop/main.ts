// `npm run bench:hop`: what it costs that the services of a cluster are processes of their own.

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../cli/package-root.js'
import { describeMachine, machineLine } from '../machine.js'
import { prepareModel } from '../peers/checkpoints.js'
import { writeSection } from '../report.js'
import { measureHop, type HopResult } from './measure.js'
import { hopSection, type HopResults } from './section.js'

const USAGE = `usage: npm run bench:hop -- [flags]
  --models LIST   demo, 0.1, 0.4, 1.5 (synthetic, GB in 8 bit) or folders, with commas (default: demo,0.4)
  --rounds N      counted rounds (default: 5)
  --tokens N      tokens that each stream decodes (default: 64)
  --quick         for a look: demo, 2 rounds, 32 tokens, unless other flags say so
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string' },
    rounds: { type: 'string' },
    tokens: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const cores = availableParallelism()
  const options = {
    rounds: Number(flags.rounds ?? (flags.quick ? 2 : 5)),
    numTokens: Number(flags.tokens ?? (flags.quick ? 32 : 64)),
    threads: cores,
    cores,
    roundTrips: flags.quick ? 300 : 3000,
    notify: (words: string): void => void process.stderr.write(`${words}\n`),
  }
  const results: HopResult[] = []
  for (const name of (flags.models ?? (flags.quick ? 'demo' : 'demo,0.4')).split(',')) {
    results.push(await measureHop(await prepareModel(name, join(packageRoot(), 'bench', '.cache')), options))
  }
  const { rounds, numTokens, threads } = options
  const all: HopResults = { results, rounds, numTokens, threads, cores }
  if (flags.json) return console.log(JSON.stringify({ machine, ...all }))
  const section = hopSection(all, machineLine(machine))
  writeSection('hop', section)
  console.log(section)
}

if (flags.help) console.log(USAGE)
else await main()
