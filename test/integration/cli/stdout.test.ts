// A result that cannot be written.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { CLI_MAIN, startCli } from '../../helpers/cli.js'
import { repositoryRoot } from '../../helpers/paths.js'

const trace = join(repositoryRoot, 'test/fixtures/traces/mooncake.jsonl')

describe('a result without a place', function () {
  this.timeout(30_000)

  it('is an error in one line, unless the reader had seen enough', async function () {
    if (!existsSync('/dev/full')) this.skip()
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, [...process.execArgv, CLI_MAIN, 'trace', 'analyze', trace, '--json'], {
      stdio: ['ignore', full, 'pipe'],
    })
    closeSync(full)
    let stderr = ''
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()))
    await once(child, 'close')
    assert.equal(child.exitCode, 1)
    assert.match(stderr, /^banyan: failed_precondition: stdout: want a place for the result, ENOSPC.*\n$/)

    const left = startCli(['trace', 'analyze', trace, '--json'])
    left.child.stdout?.destroy()
    const outcome = await left.outcome
    assert.deepEqual([outcome.code, outcome.stderr], [0, ''])
  })
})
