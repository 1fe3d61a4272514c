// `npm run bench:formats`: what weight formats cost in perplexity and bytes, and how fast products of their layouts are.

import { parseArgs } from 'node:util'
import { measureMatrices, type MeasuredMatrices } from '../../cli/inspect/matrices.js'
import { measurePerplexities } from '../../cli/inspect/perplexity.js'
import { demoModelPath } from '../../lib/package-files.js'
import { openModel } from '../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../lib/model/spec.js'
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
  const of = (format: WeightFormat): number => each.reduce((sum, { formats }) => sum + formats[format].bytes, 0)
  return {
    f32: of('f32'),
    int8: of('int8'),
    int4: of('int4'),
    'int8-auto': of('int8-auto'),
    'int4-auto': of('int4-auto'),
  }
}

if (flags.help) console.log(USAGE)
else await main()
