// `npm run bench:ablations`: what each means that makes Banyan fast brings by itself, with everything else equal.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from '../machine.js'
import { prepareModel } from '../peers/checkpoints.js'
import { writeSection } from '../report.js'
import { CACHE, RUN_OPTIONS, RUN_USAGE, runSizes } from '../run-flags.js'
import { measureMeans, type AblationRow } from './measure.js'
import { chooseMeans, MEANS } from './means.js'
import { ablationSection, type AblationResults } from './section.js'

const USAGE = `usage: npm run bench:ablations -- [flags]
${RUN_USAGE}
  --quick         for a look: demo, 2 rounds, 16 tokens, unless other flags say so
  --only LIST     some of ${MEANS.map(({ name }) => name).join()} (default: all)`

const { values: flags } = parseArgs({ options: { ...RUN_OPTIONS, only: { type: 'string' } } })

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const means = flags.only === undefined ? MEANS : chooseMeans(flags.only.split(','))
  const { models, rounds, numTokens } = runSizes(flags, 16)
  const threads = availableParallelism()
  const notify = (words: string): void => void process.stderr.write(`${words}\n`)
  const rows: AblationRow[] = []
  for (const name of models) {
    const model = await prepareModel(name, CACHE)
    for (const one of means) rows.push(...(await measureMeans(one, { model, threads, rounds, numTokens, notify })))
  }
  const results: AblationResults = {
    means: means.map(({ name, what, on, off }) => ({ name, what, on, off })),
    rows,
    rounds,
    numTokens,
    threads,
  }
  if (flags.json) return console.log(JSON.stringify({ machine, ...results }))
  const section = ablationSection(results, machineLine(machine))
  writeSection('ablations', section)
  console.log(section)
}

if (flags.help) console.log(USAGE)
else await main()
