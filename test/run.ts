// Runs every test and ends with one line `N passed, N failed`. Arguments narrow the files: `npm test -- unit/wire`.
//
// Two lanes, each a process of its own, share the files: one takes from the front, where the quick ones are and a core is
// busy all the time; the other takes from the end, where clusters of processes are broken and much of the time is waiting.
//
// Invariants
//   R1  Each file is run once, by one lane, one file at a time; its output is printed whole, when it has ended.
//   R2  A lane that ends early, or that something keeps from ending, is a failure.
//   R3  No lane outlives this process.

import { availableParallelism } from 'node:os'
import { readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startLane, type Lane } from './lanes/lane.js'

const MAX_LANES = 2
const NUM_SLOWEST = 12 // files that are named at the end

// The compute engine would report usage to its maker.
process.env.ORT_DISABLE_TELEMETRY = '1'

const root = dirname(fileURLToPath(import.meta.url))
const wanted = process.argv.slice(2)
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => join(root, file))
  .sort((a, b) => order(a) - order(b) || a.localeCompare(b))

/** Quick ones first: a broken unit is seen before a cluster is started. */
function order(file: string): number {
  const folders = ['unit', 'contract', 'simulation', 'deploy', 'integration', 'e2e', 'chaos']
  return folders.indexOf(relative(root, file).split(/[\\/]/)[0] ?? '')
}

const sums = { passed: 0, failed: 0 }
const failures: string[] = []
const seconds = new Map<string, number>() // that each file took, with its hooks

async function runAll(lane: Lane, next: () => string | undefined): Promise<void> {
  for (let file = next(); file !== undefined; file = next()) {
    const begun = performance.now()
    const result = await lane.run(file)
    seconds.set(relative(root, file), (performance.now() - begun) / 1000)
    sums.passed += result.passed
    sums.failed += result.failures.length
    failures.push(...result.failures.map((title) => `${relative(root, file ?? '')}: ${title}`))
    if (result.hasEnded) return
  }
  const left = await lane.end()
  if (left !== undefined) failures.push(left)
}

const numLanes = Math.min(MAX_LANES, availableParallelism(), files.length)
const ends = [() => files.shift(), () => files.pop()]
await Promise.all(ends.slice(0, numLanes).map((next) => runAll(startLane({ numLanes }), next)))

const slowest = [...seconds].sort(([, a], [, b]) => b - a).slice(0, NUM_SLOWEST)
if (numLanes > 1) console.log(`slowest: ${slowest.map(([file, took]) => `${file} ${took.toFixed(0)} s`).join(', ')}`)
if (numLanes > 1) for (const failure of failures) console.log(`failed: ${failure}`)
console.log(`${sums.passed} passed, ${sums.failed} failed`)
process.exitCode = failures.length > 0 || files.length > 0 || sums.passed === 0 ? 1 : 0
