// One lane: runs the test files that it is told of, one at a time, and answers each with its result.
//
// Invariants
//   L1  It ends when it is told of no more files; what then still holds the event loop is a leak, said and a failure.
//   L2  It ends when its starter does.

import Mocha from 'mocha'
import { inspect } from 'node:util'

const LAST_HANDLES_MS = 10_000
const MAX_ERROR = 4000 // characters

export interface FileResult {
  readonly passed: number
  readonly failures: readonly string[] // title and error
}

async function run(file: string): Promise<FileResult> {
  const mocha = new Mocha({
    timeout: 20_000,
    reporter: process.env.MOCHA_REPORTER ?? 'spec',
    forbidOnly: process.env.CI === 'true',
  })
  mocha.addFile(file)
  await mocha.loadFilesAsync()
  return new Promise((resolve) => {
    const failures: string[] = []
    const runner = mocha.run(() => resolve({ passed: runner.stats?.passes ?? 0, failures }))
    runner.on('fail', (test, error) => failures.push(`${test.fullTitle()}\n${inspect(error).slice(0, MAX_ERROR)}`))
  })
}

let isRunning = false

process.on('message', (file: string) => {
  isRunning = true
  run(file)
    .catch((error: unknown) => {
      console.error(error)
      return { passed: 0, failures: ['it cannot be loaded'] }
    })
    .then((result) => {
      isRunning = false
      process.send?.(result)
    })
    .catch(() => process.exit(1))
})

process.on('disconnect', () => {
  if (isRunning) process.exit(1)
  setTimeout(() => {
    console.error('handles left open after the tests:', process.getActiveResourcesInfo())
    process.exit(1)
  }, LAST_HANDLES_MS).unref()
})
