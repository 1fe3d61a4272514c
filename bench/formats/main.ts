// `npm run bench:formats`: what weight formats cost in perplexity and bytes, and how fast products of their layouts are.

import { parseArgs } from 'node:util'
import { measureMatrices, type MeasuredMatrices } from '../../cli/inspect/matrices.js'
import { measurePerplexities } from '../../cli/inspect/perplexity.js'
import { demoModelPath } from '../../lib/package-files.js'
import { openModel } from '../../lib/model/checkpoint.js'
import { perFormat } from '../../lib/model/weight-formats.js'
import { describeMachine, machineLine } from '../machine.js'
import { writeSection } from '../report.js'
import { measureLayouts } from './products.js'
import { formatsSection, type FormatResults } from './section.js'

const USAGE = `usage: npm run bench:formats -- [--model PATH] [--quick] [--json]
  --model PATH  a model with a sample.txt (default: the bundled one)
  --quick       fewer rounds, for a look
  --json        prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const layouts = await measureLayouts({ rows: [1, 8, 64], rounds: flags.quick ? 5 : 41 })
  const checkpoint = await openModel(flags.model ?? demoModelPath())
  const { signal } = new AbortController()
  const matrices = await measureMatrices(checkpoint, { isComplete: true, signal })
  const perplexity = await measurePerplexities(checkpoint, { signal })
  checkpoint.close()
  const results: FormatResults = { machine, matrixBytes: bytesOf(matrices), perplexity, layouts }
  if (flags.json) return console.log(JSON.stringify(results))
  const section = formatsSection(results, machineLine(machine))
  writeSection('formats', section)
  console.log(section)
}

function bytesOf({ each }: MeasuredMatrices): FormatResults['matrixBytes'] {
  return perFormat((format) => each.reduce((sum, { formats }) => sum + formats[format].bytes, 0))
}

if (flags.help) console.log(USAGE)
else await main()
