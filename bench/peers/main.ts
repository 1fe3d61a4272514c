// `npm run bench:peers`: Banyan and llama.cpp on the same weights, cores and prompts, in turn.

import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../../lib/package-files.js'
import { describeMachine, machineLine } from '../machine.js'
import { bestReader, type BestReader } from '../raw/best-reader.js'
import { largestCacheBytes } from '../raw/caches.js'
import { measureMemory } from '../raw/memory.js'
import { measureProducts } from '../raw/products.js'
import { writeSection } from '../report.js'
import { exportGguf, prepareModel, WIDTHS, type ModelFacts, type Width } from './checkpoints.js'
import { measureColdStarts } from './cold-start.js'
import { ensureInstalled } from './install.js'
import { startOurs } from './ours.js'
import { measureRows, rowSizes } from './rows.js'
import { peersSection, type Comparison, type PeerResults } from './section.js'
import { startTheirs } from './theirs.js'

const USAGE = `usage: npm run bench:peers -- [flags]
  --models LIST   demo, 0.1, 0.4, 1.5 (synthetic, GB in 8 bit) or folders, with commas (default: demo,0.1,0.4)
  --weights LIST  int8 (against Q8_0), int4 (Q4_0), f32 (F32), with commas (default: int8,int4)
  --rounds N      counted rounds (default: 3)
  --tokens N      tokens that each stream decodes (default: 64)
  --threads N     compute threads of both sides (default: cores)
  --cache DIR     checkpoints and GGUF files (default: bench/.cache)
  --quick         for a look: demo, 2 rounds, 16 tokens, unless other flags say so
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string' },
    weights: { type: 'string', default: 'int8,int4' },
    rounds: { type: 'string' },
    tokens: { type: 'string' },
    threads: { type: 'string', default: `${availableParallelism()}` },
    cache: { type: 'string', default: join(packageRoot(), 'bench', '.cache') },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const cache = resolve(flags.cache)
const threads = Number(flags.threads)
const rounds = Number(flags.rounds ?? (flags.quick ? 2 : 3))
const numTokens = Number(flags.tokens ?? (flags.quick ? 16 : 64))
const notify = (words: string): void => void process.stderr.write(`${words}\n`)

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const widths = flags.weights.split(',').map(toWidth)
  await ensureInstalled(notify)
  const bandwidth = await measureBandwidth()
  const demo = await prepareModel('demo', cache)
  const comparisons: Comparison[] = []
  for (const name of (flags.models ?? (flags.quick ? 'demo' : 'demo,0.1,0.4')).split(',')) {
    const model = await prepareModel(name, cache)
    for (const width of widths) comparisons.push(await compare(model, demo, width))
  }
  report({ machine, threads, rounds, bandwidth, comparisons })
}

function toWidth(word: string): Width {
  const width = (Object.keys(WIDTHS) as Width[]).find((known) => known === word) // the keys of a const object
  if (width === undefined) throw new Error(`--weights: want f32, int8 or int4, found ${word}`)
  return width
}

async function measureBandwidth(): Promise<BestReader> {
  const cacheBytes = largestCacheBytes()
  const bytesPerThread = Math.max(2 ** 26, (flags.quick ? 2 ** 28 : Math.max(2 ** 29, 4 * cacheBytes)) / threads)
  const repetitions = flags.quick ? 3 : 9
  const memory = await measureMemory({ bytesPerThread, threadCounts: [threads], repetitions })
  const products = measureProducts({ formats: ['int8'], rows: [1], threadCounts: [threads], repetitions })
  return bestReader(memory, products, { threads, cacheBytes })
}

async function compare(model: ModelFacts, demo: ModelFacts, width: Width): Promise<Comparison> {
  notify(`${model.name}, ${width} against ${WIDTHS[width]}`)
  const gguf = await exportGguf(model, width, cache)
  const our = (facts: ModelFacts) => ({
    model: facts.folder,
    weights: width,
    threads,
    weightBytes: facts.weightBytes[width],
  })
  const their = { modelPath: gguf.path, threads, weightBytes: gguf.bytes }
  const coldStarts = await measureColdStarts({
    ours: our(model),
    theirs: their,
    baseline: { ...our(demo), vocabSize: demo.vocabSize },
    vocabSize: model.vocabSize,
    rounds: Math.min(rounds, 3),
  })
  const theirs = await startTheirs(their)
  try {
    const ours = await startOurs(our(model))
    try {
      const sizes = rowSizes(model.maxPositions, numTokens)
      const options = { rounds, threads, attempts: flags.quick ? 1 : 2, vocabSize: model.vocabSize, notify }
      const rows = await measureRows({ ours, theirs }, sizes, options)
      return { model, width, rows, coldStarts, ...theirs.loaded }
    } finally {
      await ours.stop()
    }
  } finally {
    await theirs.stop()
  }
}

function report(results: PeerResults): void {
  if (flags.json) return console.log(JSON.stringify(results))
  const section = peersSection(results, machineLine(results.machine, results.comparisons[0]?.versions))
  writeSection('peers', section)
  console.log(section)
}

if (flags.help) console.log(USAGE)
else await main()
