// `npm run bench:prefix`: what requests with one beginning wait for their first token, with the KV of earlier ones and
// without. One process; the two clusters stand side by side and get each request in turn.
//
// Not measured here: prefixes that come and go, requests that arrive together, more than one attention worker.

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot } from '../lib/package-files.js'
import { takeTurns } from './in-turn.js'
import { describeMachine, machineLine, type Machine } from './machine.js'
import { prepareModel, type ModelFacts } from './peers/checkpoints.js'
import { startOurs, type Ours } from './peers/ours.js'
import { table, writeSection } from './report.js'
import { askFirstToken, drawSharedPrefix, type FirstToken } from './shared-prefix.js'
import { formatNumber, formatSummary, ratios, summarise } from './statistics.js'

const USAGE = `usage: npm run bench:prefix -- [flags]
  --model NAME   demo, 0.1, 0.4, 1.5 (synthetic, GB in 8 bit) or a folder (default: 0.4)
  --requests N   that share the prefix (default: 20)
  --prefix N     tokens that they share (default: 1500)
  --quick        for a look: demo, 5 requests, 500 tokens, unless other flags say so
  --json         prints the results as JSON and leaves bench/RESULTS.md alone`

const OWN_TOKENS = 32 // of each request, after the prefix

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    requests: { type: 'string' },
    prefix: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const SIDES = ['on', 'off'] as const
type Which = (typeof SIDES)[number]

interface Results {
  readonly machine: Machine
  readonly model: string
  readonly prefixTokens: number
  readonly threads: number
  readonly on: readonly FirstToken[] // one per request
  readonly off: readonly FirstToken[]
}

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const model = await prepareModel(
    flags.model ?? (flags.quick ? 'demo' : '0.4'),
    join(packageRoot(), 'bench', '.cache'),
  )
  const threads = availableParallelism()
  const prefixTokens = Number(flags.prefix ?? (flags.quick ? 500 : 1500))
  const count = Number(flags.requests ?? (flags.quick ? 5 : 20))
  const sides = new Map<Which, Ours>()
  try {
    for (const which of SIDES) {
      const common = { model: model.folder, weights: 'int8', threads }
      sides.set(which, await startOurs({ ...common, flags: ['--prefix-cache', which] }))
    }
    await measure(sides, drawPrefix(model, 0, { count: 2, prefixTokens })) // warms up, on another prefix
    const { on, off } = await measure(sides, drawPrefix(model, 1, { count, prefixTokens }))
    report({ machine, model: model.name, prefixTokens, threads, on, off })
  } finally {
    for (const side of sides.values()) await side.stop()
  }
}

const drawPrefix = (
  { vocabSize }: ModelFacts,
  seed: number,
  size: { readonly count: number; readonly prefixTokens: number },
): number[][] => drawSharedPrefix({ ...size, seed, ownTokens: OWN_TOKENS, vocabSize })

async function measure(
  sides: ReadonlyMap<Which, Ours>,
  prompts: readonly (readonly number[])[],
): Promise<Readonly<Record<Which, FirstToken[]>>> {
  const measured: Record<Which, FirstToken[]> = { on: [], off: [] }
  for (const [i, prompt] of prompts.entries()) {
    await takeTurns(i, [...sides], async ([which, ours]) => {
      measured[which].push(await askFirstToken(ours, prompt))
    })
    process.stderr.write(`request ${i + 1} of ${prompts.length}\n`)
  }
  return measured
}

function report(results: Results): void {
  if (flags.json) return console.log(JSON.stringify(results))
  const section = sectionOf(results)
  writeSection('prefix', section)
  console.log(section)
}

function sectionOf({ machine, model, prefixTokens, threads, on, off }: Results): string {
  const timesOn = on.map(({ ms }) => ms)
  const timesOff = off.map(({ ms }) => ms)
  const shares = ratios(timesOn, timesOff)
  const later = [timesOn, timesOff, shares].map((values) => formatSummary(summarise(values.slice(1))))
  const numEqual = on.filter(({ token }, i) => token === off[i]?.token).length
  const cell = (value: number | undefined): string => formatNumber(value ?? NaN)
  return [
    '## Requests that share a prefix',
    '',
    `\`npm run bench:prefix\`. ${machineLine(machine)} Model ${model} in int8, one process, ${threads} threads. ${on.length} requests that share their first ${prefixTokens} tokens and have ${OWN_TOKENS} of their own, one after the other, each asked of both clusters in turn: time to first token, in ms. Last row: median (minimum – maximum) of all but the first.`,
    '',
    table(
      ['request', '`--prefix-cache on`', '`off`', 'on / off'],
      [
        ...timesOn.map((ms, i) => [`${i + 1}`, cell(ms), cell(timesOff[i]), cell(shares[i])]),
        [`2 – ${on.length}`, ...later],
      ],
    ),
    '',
    `First tokens equal with and without: ${numEqual} of ${on.length}. Not measured: prefixes that come and go, requests that arrive together, more than one attention worker.`,
  ].join('\n')
}

if (flags.help) console.log(USAGE)
else await main()
