// The flags of benches that run a list of models in rounds: one reading, one default, one line of help each.

import { join } from 'node:path'
import { packageRoot } from '../lib/package-files.js'

export const CACHE = join(packageRoot(), 'bench', '.cache')

export const RUN_OPTIONS = {
  models: { type: 'string' },
  rounds: { type: 'string' },
  tokens: { type: 'string' },
  quick: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

export const RUN_USAGE = `  --models LIST   demo, 0.1, 0.4, 1.5 (synthetic, GB in 8 bit) or folders, with commas (default: demo,0.4)
  --rounds N      counted rounds (default: 5)
  --tokens N      tokens that each stream decodes (default: 64)
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

export interface RunFlags {
  readonly models?: string | undefined
  readonly rounds?: string | undefined
  readonly tokens?: string | undefined
  readonly quick: boolean
}

/** What to run; `quickTokens` a stream for a look. */
export const runSizes = ({ models, rounds, tokens, quick }: RunFlags, quickTokens: number) => ({
  models: (models ?? (quick ? 'demo' : 'demo,0.4')).split(','),
  rounds: Number(rounds ?? (quick ? 2 : 5)),
  numTokens: Number(tokens ?? (quick ? quickTokens : 64)),
})
