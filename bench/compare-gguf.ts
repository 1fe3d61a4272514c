// `npm run compare:gguf`: greedy ids of Banyan and of llama.cpp for the same GGUF file and prompts. Both compute in
// another order, and llama.cpp rounds what it multiplies with integer blocks, so that near ties fall differently: what
// counts is how far answers agree, and how many agree to their end.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { openModel } from '../lib/model/checkpoint.js'
import { ensureInstalled } from './peers/install.js'
import { startOurs } from './peers/ours.js'
import { drawPrompts } from './peers/prompts.js'
import { startTheirs } from './peers/theirs.js'
import { table } from './report.js'

const USAGE = `usage: BANYAN_TEST_GGUF=FILE npm run compare:gguf -- [flags]
  --weights FORMAT  in which Banyan serves the file (default: f32, its very numbers)
  --tokens N        that each prompt is answered with (default: 32)
  --threads N       compute threads of both sides (default: cores)
  --json            prints the results as JSON`

const { values: flags } = parseArgs({
  options: {
    weights: { type: 'string', default: 'f32' },
    tokens: { type: 'string', default: '32' },
    threads: { type: 'string', default: `${availableParallelism()}` },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const TEXTS = [
  'The capital of France is',
  'Once upon a time, in a small village by the sea,',
  'def fibonacci(n):\n    ',
  'export interface Options {\n  readonly ',
  'Water boils at',
  'The three primary colours are',
  '1, 1, 2, 3, 5, 8,',
  'Dear Sir or Madam,',
  'SELECT name FROM users WHERE',
  'Das Wetter in Berlin ist heute',
  'La vie est',
  '静かな夜に、',
  'The opposite of hot is',
  'import { readFileSync } from',
  'A recipe for pancakes: take two eggs,',
  'In 1969, the first people',
  '<html>\n<body>\n',
  'If x + 3 = 10, then x =',
  'She opened the door and',
  'The most important rule of writing is',
]

interface Agreement {
  readonly prompt: number
  readonly tokens: number
  readonly agreeing: number // from the start on
}

async function main(path: string): Promise<void> {
  await ensureInstalled((words) => void process.stderr.write(`${words}\n`))
  const prompts = await promptsFor(path)
  const [threads, numTokens] = [Number(flags.threads), Number(flags.tokens)]
  const theirs = await startTheirs({ modelPath: path, threads })
  const wanted: (readonly number[])[] = []
  for (const prompt of prompts) wanted.push(...(await theirs.decode([prompt], numTokens)).tokens)
  await theirs.stop()
  const ours = await startOurs({ model: path, weights: flags.weights, threads })
  const { tokens } = await ours.decode(prompts, numTokens).finally(() => ours.stop())
  report(tokens.map((found, prompt) => agreement(prompt, found, wanted[prompt] ?? [])))
}

/** Twenty texts, or as many prompts of ids where the file has no words. */
async function promptsFor(path: string): Promise<number[][]> {
  const model = await openModel(path)
  model.close()
  const { tokenizer, spec } = model
  if (tokenizer !== undefined) return TEXTS.map((text) => tokenizer.encode(text))
  return drawPrompts({ seed: 1, count: TEXTS.length, length: 8, vocabSize: spec.vocabSize })
}

function agreement(prompt: number, found: readonly number[], wanted: readonly number[]): Agreement {
  const first = found.findIndex((token, i) => token !== wanted[i])
  return { prompt, tokens: found.length, agreeing: first === -1 ? found.length : first }
}

function report(results: readonly Agreement[]): void {
  const whole = results.filter(({ tokens, agreeing }) => agreeing === tokens).length
  const agreeing = results.reduce((sum, each) => sum + each.agreeing, 0)
  const tokens = results.reduce((sum, each) => sum + each.tokens, 0)
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ whole, agreeing, tokens, results })}\n`)
  const rows = results.map((each) => [`${each.prompt}`, `${each.agreeing}`, `${each.tokens}`])
  process.stdout.write(`${table(['prompt', 'ids that agree from the start', 'of'], rows)}\n`)
  const share = ((100 * agreeing) / tokens).toFixed(1)
  process.stdout.write(
    `\n${whole} of ${results.length} answers agree to the end, ${share} % of ids before a first difference\n`,
  )
}

const path = process.env.BANYAN_TEST_GGUF
if (flags.help || path === undefined) process.stdout.write(`${USAGE}\n`)
else await main(path)
