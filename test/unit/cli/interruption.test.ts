import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { watchSignals } from '../../../cli/interruption.js'

describe('watchSignals', () => {
  const start = () => {
    const source = new EventEmitter()
    let nowMs = 0
    const interruption = watchSignals(source, () => nowMs)
    const send = (name: 'SIGINT' | 'SIGTERM', atMs: number): void => {
      nowMs = atMs
      source.emit(name)
    }
    return { interruption, send }
  }

  it('takes signals within five seconds for one wish', async () => {
    const { interruption, send } = start()
    send('SIGINT', 0)
    send('SIGTERM', 20)
    send('SIGINT', 4_900)
    await interruption.requested
    assert.deepEqual([interruption.signal.aborted, interruption.hurry.aborted], [true, false])
  })

  it('hurries when asked again later', () => {
    const { interruption, send } = start()
    send('SIGTERM', 0)
    send('SIGTERM', 5_100)
    assert.equal(interruption.hurry.aborted, true)
  })

  it('exits with 130 where a SIGINT was among the signals, else with the given code', () => {
    const codeAfter = (...names: readonly ('SIGINT' | 'SIGTERM')[]): number | undefined => {
      const { interruption, send } = start()
      for (const name of names) send(name, 0)
      return interruption.exitCode(0)
    }
    assert.deepEqual(
      [codeAfter(), codeAfter('SIGTERM', 'SIGTERM'), codeAfter('SIGINT'), codeAfter('SIGTERM', 'SIGINT')],
      [undefined, 0, 130, 130],
    )
  })
})
