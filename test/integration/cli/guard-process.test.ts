import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { guardProcess } from '../../../cli/cluster/guard-process.js'

describe('guardProcess', () => {
  it('ends the guarded process when the one that guards is gone', async () => {
    const guarded = spawn('sleep', ['60'], { stdio: 'ignore' })
    const ended = once(guarded, 'exit')
    const module = JSON.stringify(
      new URL(`../../../cli/cluster/guard-process${extname(import.meta.url)}`, import.meta.url).href,
    )
    const script = `const { guardProcess } = await import(${module}); guardProcess(${guarded.pid}); process.kill(process.pid, 'SIGKILL')`
    spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], { stdio: 'ignore' })
    const [, signal] = (await ended) as [number | null, string | null] // of a child process
    assert.equal(signal, 'SIGTERM')
  })

  it('leaves it alone when dismissed', async () => {
    const guarded = spawn('sleep', ['60'], { stdio: 'ignore' })
    const guard = guardProcess(guarded.pid ?? 0)
    await guard.dismiss()
    assert.equal(guarded.exitCode ?? guarded.signalCode, null)
    guarded.kill('SIGKILL')
  })
})
