// `npm run bench:warm-up`: how soon a process answers at full speed, with V8 compiling as cli/compile-sooner.ts asks and by
// V8's own measure. Fresh processes, one stream on the demonstration model, tokens per second by how many came before.

import { parseArgs } from 'node:util'
import { BanyanClient } from '../sdk/src/index.js'
import { takeTurns } from './in-turn.js'
import { describeMachine, machineLine } from './machine.js'
import { drawPrompts } from './peers/prompts.js'
import { table, writeSection } from './report.js'
import { ask, decodeSpeed } from './speculation/answer.js'
import { formatSummary, median, ratios, summarise } from './statistics.js'
import { startUp } from './up-process.js'

const USAGE = `usage: npm run bench:warm-up -- [flags]
  --rounds N  fresh processes of each kind, in turn (default: 5)
  --json      prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const TOKENS = 128 // of an answer
const ANSWERS = [1, 3, 8, 16] // whose speed is told together, one after the other
const SIDES: Readonly<Record<string, readonly string[]>> = {
  sooner: [],
  'V8’s own': ['--interrupt-budget=67584'], // Node’s default
}

/** Tokens per second of each part of the answers of a fresh process. */
async function measureFresh(nodeFlags: readonly string[]): Promise<number[]> {
  const up = await startUp(['--transport', 'local', '--draft', 'off'], { nodeFlags })
  const client = new BanyanClient({ address: up.grpc })
  try {
    const { vocabSize } = await client.modelInfo()
    const count = ANSWERS.reduce((sum, answers) => sum + answers, 0)
    const prompts = drawPrompts({ seed: 1, count, length: 32, vocabSize })
    const speeds: number[] = []
    for (const answers of ANSWERS) {
      const part = []
      for (const tokens of prompts.splice(0, answers))
        part.push(await ask(client, { tokens, sampling: { temperature: 0, maxTokens: TOKENS, ignoreEos: true } }))
      speeds.push(decodeSpeed(part))
    }
    return speeds
  } finally {
    client.close()
    await up.stop()
  }
}

async function main(): Promise<void> {
  const machine = describeMachine()
  const rounds = Number(flags.rounds)
  const speeds = new Map(Object.keys(SIDES).map((name) => [name, ANSWERS.map((): number[] => [])])) // grow by round
  for (let round = 0; round < rounds; round++) {
    await takeTurns(round, Object.entries(SIDES), async ([name, nodeFlags]) => {
      for (const [part, speed] of (await measureFresh(nodeFlags)).entries()) speeds.get(name)?.[part]?.push(speed)
    })
  }
  if (flags.json) return console.log(JSON.stringify({ machine, tokens: TOKENS, answers: ANSWERS, sides: [...speeds] }))
  const [sooner = [], own = []] = [...speeds.values()]
  let before = 0
  const rows = ANSWERS.map((answers, part) => {
    const from = before
    before += answers * TOKENS
    const cells = [sooner[part] ?? [], own[part] ?? []].map((values) => `${Math.round(median(values))}`)
    return [`${from} – ${before}`, ...cells, formatSummary(summarise(ratios(sooner[part] ?? [], own[part] ?? [])))]
  })
  const section = [
    '## How soon a process is at full speed',
    '',
    `\`npm run bench:warm-up\`. ${machineLine(machine)} Demonstration model in int8, one process, one stream, no drafts, answers of ${TOKENS} tokens one after the other; ${rounds} fresh processes of each kind in turn. Tokens per second: medians; ratio as median (minimum – maximum) over the rounds.`,
    '',
    table(['tokens since the start', 'compiled sooner', 'by V8’s own measure', 'ratio'], rows),
  ].join('\n')
  writeSection('warm-up', section)
  console.log(section)
}

if (flags.help) console.log(USAGE)
else await main()
