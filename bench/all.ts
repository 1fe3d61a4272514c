// `npm run bench`: every bench, one after the other; each writes its section of bench/RESULTS.md. Takes about two hours.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const BENCHES: Readonly<Record<string, { readonly script: string; readonly quick: readonly string[] }>> = {
  raw: { script: './raw/main.js', quick: ['--quick'] },
  formats: { script: './formats/main.js', quick: ['--quick'] },
  peers: { script: './peers/main.js', quick: ['--quick'] },
  cluster: { script: './cluster.js', quick: ['--rounds', '2', '--tokens', '32'] },
  frames: { script: './frames.js', quick: ['--rounds', '5'] },
  hop: { script: './hop/main.js', quick: ['--quick'] },
  prefix: { script: './prefix.js', quick: ['--quick'] },
  speculation: { script: './speculation/main.js', quick: ['--quick'] },
  ablations: { script: './ablations/main.js', quick: ['--quick'] },
  replay: { script: './replay/main.js', quick: ['--requests', '200', '--cross', '40'] },
  'cost-model': { script: './cost-model.js', quick: [] },
}

const USAGE = `usage: npm run bench -- [--only LIST] [--quick]
  --only LIST  some of ${Object.keys(BENCHES).join(', ')}, with commas
  --quick      for a look: fewer rounds and models

Each is also a command of its own with flags of its own: npm run bench:peers -- --help`

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(BENCHES).join() },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** Runs a bench in a process of its own; resolves with its exit code. */
function run(script: string, words: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...words], {
    stdio: 'inherit',
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

async function main(): Promise<void> {
  const names = flags.only.split(',')
  const stray = names.find((name) => BENCHES[name] === undefined)
  if (stray !== undefined) throw new Error(`--only: want some of ${Object.keys(BENCHES).join(', ')}, found ${stray}`)
  const failed: string[] = []
  for (const name of names) {
    const bench = BENCHES[name]!
    process.stderr.write(`${name}\n`)
    const code = await run(bench.script, flags.quick ? bench.quick : [])
    if (code !== 0) failed.push(`${name} ended with exit code ${code}`) // an hour of the others is not lost for it
  }
  if (failed.length > 0) throw new Error(failed.join('; '))
}

if (flags.help) console.log(USAGE)
else await main()
