// `npm run bench:hop`: what it costs that the services of a cluster are processes of their own.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from '../machine.js'
import { prepareModel } from '../peers/checkpoints.js'
import { writeSection } from '../report.js'
import { CACHE, RUN_OPTIONS, RUN_USAGE, runSizes } from '../run-flags.js'
import { measureHop, type HopResult } from './measure.js'
import { hopSection, type HopResults } from './section.js'

const USAGE = `usage: npm run bench:hop -- [flags]
${RUN_USAGE}
  --quick         for a look: demo, 2 rounds, 32 tokens, unless other flags say so`

const { values: flags } = parseArgs({ options: RUN_OPTIONS })

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const { models, rounds, numTokens } = runSizes(flags, 32)
  const cores = availableParallelism()
  const options = {
    rounds,
    numTokens,
    threads: cores,
    cores,
    roundTrips: flags.quick ? 300 : 3000,
    notify: (words: string): void => void process.stderr.write(`${words}\n`),
  }
  const results: HopResult[] = []
  for (const name of models) results.push(await measureHop(await prepareModel(name, CACHE), options))
  const all: HopResults = { results, rounds, numTokens, threads: cores, cores }
  if (flags.json) return console.log(JSON.stringify({ machine, ...all }))
  const section = hopSection(all, machineLine(machine))
  writeSection('hop', section)
  console.log(section)
}

if (flags.help) console.log(USAGE)
else await main()
