// `npm run chaos`: every fault in the middle of real streams, in a cluster of real processes on a real nats-server.
// Exit code 1 where anything is not as in a quiet run. A case that failed names the command that runs it again.

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from '../../bench/machine.js'
import { table, writeSection } from '../../bench/report.js'
import { percentile } from '../../bench/statistics.js'
import { CASES, chooseCases } from './cases.js'
import { createMixes } from './mixes.js'
import { hasProcessTable } from './process-table.js'
import { MAX_TOKENS } from './requests.js'
import { runCase, type CaseResult } from './run-case.js'

const USAGE = `usage: npm run chaos -- [flags]
  --case NAME     a case, or those whose names begin so; may be repeated (default: all)
  --seed N        of requests, victims and moments (default: drawn, and printed)
  --streams N     at once (default: 32)
  --max-tokens N  that each stream decodes at most (default: ${MAX_TOKENS})
  --repeat N      times each case, with seeds that count up (default: 1)
  --json          prints the results as JSON
  --report        writes the table to bench/RESULTS.md
cases: ${CASES.map(({ name }) => name).join(', ')}`

const { values: flags } = parseArgs({
  options: {
    case: { type: 'string', multiple: true, default: [] },
    seed: { type: 'string', default: `${randomInt(2 ** 31)}` },
    streams: { type: 'string', default: '32' },
    'max-tokens': { type: 'string', default: `${MAX_TOKENS}` },
    repeat: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const notify = (line: string): void => void process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  if (!hasProcessTable()) throw new Error('the chaos suite reads /proc: want Linux')
  const machine = describeMachine() // before: its load is the others’
  const cases = chooseCases(flags.case)
  const results: CaseResult[] = []
  for (let round = 0; round < Number(flags.repeat); round++) {
    const seed = Number(flags.seed) + round
    notify(`seed ${seed}`)
    const mixOf = createMixes({ streams: Number(flags.streams), seed, maxTokens: Number(flags['max-tokens']) })
    for (const [i, chaosCase] of cases.entries()) {
      notify(`${chaosCase.name} (${i + 1} of ${cases.length})`)
      results.push(await runCase(chaosCase, { ...(await mixOf(chaosCase)), seed, measuresGaps: true, notify }))
    }
  }
  console.log(flags.json ? JSON.stringify(results) : report(results))
  if (flags.report) writeSection('chaos', sectionOf(results, machineLine(machine)))
  const failed = results.filter(({ problems }) => problems.length > 0)
  for (const { name, seed } of failed) {
    notify(
      `again: npm run chaos -- --case ${name} --seed ${seed} --streams ${flags.streams} --max-tokens ${flags['max-tokens']}`,
    )
  }
  if (failed.length > 0) process.exitCode = 1
}

const HEADING = ['case', 'requests', 'failed', 'differing', 'duplicated', 'added gap p50', 'p99', '']

function report(results: readonly CaseResult[]): string {
  const names = [...new Set(results.map(({ name }) => name))]
  return table(
    HEADING,
    names.map((name) => row(results.filter((result) => result.name === name))),
  )
}

const sectionOf = (results: readonly CaseResult[], line: string): string =>
  [
    '## Faults in the middle of streams',
    '',
    `\`npm run chaos\`. ${line} ${flags.streams} streams; every case ${flags.repeat} times, seeds from ${flags.seed}. Requests: those of the quiet runs before, of the run with the fault and of the run afterwards; all are compared with the answers of one process without drafts. Added gap: by how much a choice’s longest wait for a token grew over the quiet run.`,
    '',
    report(results),
  ].join('\n')

/** One case, all its seeds. */
function row(results: readonly CaseResult[]): string[] {
  const sum = (of: (result: CaseResult) => number): string =>
    String(results.reduce((total, result) => total + of(result), 0))
  const gaps = results.flatMap(({ addedGapsMs }) => addedGapsMs)
  const ms = (share: number): string => (gaps.length === 0 ? '–' : `${Math.round(percentile(gaps, share))} ms`)
  const problems = results.flatMap((result) => result.problems)
  return [
    results[0]?.name ?? '',
    sum(({ asked }) => asked),
    sum(({ failed }) => failed),
    sum(({ differing }) => differing),
    sum(({ duplicated }) => duplicated),
    ms(0.5),
    ms(0.99),
    problems.length === 0 ? 'ok' : `${problems.length} problems`,
  ]
}

if (flags.help) console.log(USAGE)
else await main()
