// `npm run simulate`: whole clusters under virtual time, one after the other, each drawn from a seed.

import { parseArgs } from 'node:util'
import { openRunner, type SeedResult } from './runner.js'
import { SCENARIOS } from './plan.js'

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

const scenario = SCENARIOS.find(({ name }) => name === values.scenario)
if (scenario === undefined) {
  console.error(`--scenario: want one of ${SCENARIOS.map(({ name }) => name).join(', ')}, got ${values.scenario}`)
  process.exit(2)
}
const first = Number(values.seed ?? values.from)
const count = values.seed === undefined ? Number(values.seeds) : 1
const runner = await openRunner()
const startedUs = process.cpuUsage()
let simulatedMs = 0
let numMessages = 0
const failed: SeedResult[] = []
for (let seed = first; seed < first + count; seed++) {
  const result = await runner.run(seed, scenario, values.log ? (line) => console.log(line) : undefined)
  simulatedMs += result.simulatedMs
  numMessages += result.numMessages
  if (values.json) console.log(JSON.stringify(result))
  else if (values.seed !== undefined) console.log(`seed ${seed}: ${result.shape}; digest ${result.digest}`)
  if (result.wrong.length === 0) continue
  failed.push(result)
  if (values.json) continue
  console.log(`seed ${seed} failed (${result.shape}):`)
  for (const what of result.wrong) console.log(`  ${what}`)
  console.log(`  again, message by message: npm run simulate -- --seed ${seed} --scenario ${scenario.name} --log`)
}
const used = process.cpuUsage(startedUs)
const cpuMinutes = (used.user + used.system) / 60e6
const hours = simulatedMs / 3_600_000
console.error(
  `${count} seeds, ${failed.length} failed; ${hours.toFixed(2)} simulated hours in ${cpuMinutes.toFixed(2)} minutes of CPU (${(hours / cpuMinutes).toFixed(1)} hours a minute); ${numMessages} messages`,
)
process.exitCode = failed.length > 0 ? 1 : 0
