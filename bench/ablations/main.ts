// `npm run bench:ablations`: what each means that makes Banyan fast brings by itself, with everything else equal.

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../cli/package-root.js'
import { describeMachine, machineLine } from '../machine.js'
import { prepareModel } from '../peers/checkpoints.js'
import { writeSection } from '../report.js'
import { measureMeans, type AblationRow } from './measure.js'
import { chooseMeans, MEANS } from './means.js'
import { ablationSection, type AblationResults } from './section.js'

const USAGE = `usage: npm run bench:ablations -- [flags]
  --models LIST   demo, 0.1, 0.4, 1.5 (synthetic, GB in 8 bit) or folders, with commas (default: demo,0.4)
  --rounds N      counted rounds (default: 5)
  --tokens N      tokens that each stream decodes (default: 64)
  --only LIST     some of ${MEANS.map(({ name }) => name).join()} (default: all)
  --quick         for a look: demo, 2 rounds, 16 tokens, unless other flags say so
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string' },
    rounds: { type: 'string' },
    tokens: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const means = flags.only === undefined ? MEANS : chooseMeans(flags.only.split(','))
  const rounds = Number(flags.rounds ?? (flags.quick ? 2 : 5))
  const numTokens = Number(flags.tokens ?? (flags.quick ? 16 : 64))
  const threads = availableParallelism()
  const notify = (words: string): void => void process.stderr.write(`${words}\n`)
  const rows: AblationRow[] = []
  for (const name of (flags.models ?? (flags.quick ? 'demo' : 'demo,0.4')).split(',')) {
    const model = await prepareModel(name, join(packageRoot(), 'bench', '.cache'))
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
