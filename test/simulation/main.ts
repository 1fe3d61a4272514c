// `npm run simulate`: whole clusters under virtual time, one after the other, each drawn from a seed.

import { parseArgs } from 'node:util'
import { keptSeeds } from './kept-seeds.js'
import { scenarioNamed } from './plan.js'
import { runScale } from './scale.js'
import { openRunner, type SeedResult } from './runner.js'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '300' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    scenario: { type: 'string', default: 'all' },
    log: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})

const isOne = values.seed !== undefined
const first = Number(values.seed ?? values.from)
const count = isOne ? 1 : Number(values.seeds)
if (values.scenario === 'scale') process.exit(await scale())
scenarioNamed(values.scenario)
const asked = Array.from({ length: count }, (_, i) => ({ seed: first + i, scenario: values.scenario }))
const runs = isOne ? asked : [...keptSeeds(), ...asked]
const runner = await openRunner()
const started = process.cpuUsage()
const results: SeedResult[] = []
for (const { seed, scenario } of runs) {
  const write = values.log ? (line: string): void => console.log(line) : undefined
  const result = await runner.run(seed, scenarioNamed(scenario), write)
  results.push(result)
  if (values.json) console.log(JSON.stringify({ ...result, scenario }))
  else if (isOne || result.wrong.length > 0) report(result, scenario)
}
runner.close()
summarise()

async function scale(): Promise<number> {
  const opened = await openRunner()
  const isWell = await runScale(opened, (line) => console.log(line))
  opened.close()
  return isWell ? 0 : 1
}

function report({ seed, shape, digest, wrong }: SeedResult, scenario: string): void {
  console.log(`seed ${seed} ${wrong.length > 0 ? 'failed' : 'passed'}: ${shape}; digest ${digest}`)
  for (const what of wrong) console.log(`  ${what}`)
  if (wrong.length > 0 && !values.log)
    console.log(`  again, message by message: npm run simulate -- --seed ${seed} --scenario ${scenario} --log`)
}

function summarise(): void {
  const { user, system } = process.cpuUsage(started)
  const cpuMinutes = (user + system) / 60e6
  const hours = results.reduce((sum, { simulatedMs }) => sum + simulatedMs, 0) / 3_600_000
  const numMessages = results.reduce((sum, result) => sum + result.numMessages, 0)
  const numFailed = results.filter(({ wrong }) => wrong.length > 0).length
  const speed = `${hours.toFixed(2)} simulated hours in ${cpuMinutes.toFixed(2)} minutes of CPU (${(hours / cpuMinutes).toFixed(1)} hours a minute)`
  console.error(`${results.length} runs, ${numFailed} failed; ${speed}; ${numMessages} messages`)
  process.exitCode = numFailed > 0 ? 1 : 0
}
