// Runs every test and ends with one line `N passed, N failed`. Arguments narrow the files: `npm test -- unit/wire`.

import Mocha from 'mocha'
import { readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

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

const mocha = new Mocha({
  timeout: 20_000,
  reporter: process.env.MOCHA_REPORTER ?? 'spec',
  forbidOnly: process.env.CI === 'true',
})
for (const file of files) mocha.addFile(file)
await mocha.loadFilesAsync()
const failures = await new Promise<number>((resolve) => {
  const runner = mocha.run(() => {
    const { passes = 0, failures: failed = 0 } = runner.stats ?? {}
    console.log(`${passes} passed, ${failed} failed`)
    resolve(failed + (passes === 0 ? 1 : 0))
  })
})
process.exitCode = failures > 0 ? 1 : 0
// What still holds the event loop after the last test is a leak: say so, and do not hang.
setTimeout(() => {
  console.error('handles left open after the tests:', process.getActiveResourcesInfo())
  process.exit(process.exitCode === 0 ? 1 : process.exitCode)
}, 10_000).unref()
