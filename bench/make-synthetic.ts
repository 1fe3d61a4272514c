// Writes a synthetic checkpoint: node dist/bench/make-synthetic.js --size 0.4 --out DIR.

import { parseArgs } from 'node:util'
import { SYNTHETIC_SHAPES, writeSyntheticCheckpoint } from './synthetic.js'

const SIZES = Object.keys(SYNTHETIC_SHAPES).join(', ')
const USAGE = `usage: node dist/bench/make-synthetic.js --size SIZE --out DIR [--seed N]
  --size SIZE  ${SIZES}: about so many GB in 8 bit (24 layers of 32 experts, 4 per token)
  --out DIR    checkpoint folder; one that holds this size and seed already is left as it is
  --seed N     the same seed gives the same bytes (default: 1)
`

function main(words: readonly string[]): void {
  const { values: flags } = parseArgs({
    args: [...words],
    options: {
      size: { type: 'string' },
      out: { type: 'string' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  })
  if (flags.help) return void process.stdout.write(USAGE)
  const shape = SYNTHETIC_SHAPES[flags.size ?? '']
  if (shape === undefined) throw new Error(`--size: want one of ${SIZES}, found ${flags.size ?? 'none'}`)
  if (flags.out === undefined) throw new Error('--out: want a folder, found none')
  if (!/^\d{1,9}$/.test(flags.seed)) throw new Error(`--seed: want a whole number below 10^9, found ${flags.seed}`)
  const result = writeSyntheticCheckpoint(flags.out, shape, Number(flags.seed))
  process.stderr.write(`${flags.out}: ${result === 'written' ? 'written' : 'was there'}\n`)
}

try {
  main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 2
}
