import assert from 'node:assert/strict'
import { createLoadBar } from '../../../lib/config/load-bar.js'

describe('the bar of a service’s loads', () => {
  let [nowMs, shown, written]: [number, string[], string[]] = [0, [], []]
  const open = () => {
    ;[nowMs, shown, written] = [0, [], []]
    const bar = {
      update: (share: number, text: string) => void shown.push(`${share} ${text}`),
      stop: () => void shown.push('gone'),
    }
    return createLoadBar(
      { write: (text: string) => written.push(text) > 0 },
      () => bar,
      () => nowMs,
    )
  }
  const loaded = (experts: number) => ({ experts, totalExperts: 4, bytes: experts * 1e8, totalBytes: 4e8 })

  it('shows bytes and experts of a load that lasts, and goes when it is done', () => {
    const bar = open()
    for (const [at, experts] of [
      [0, 0],
      [400, 1],
      [600, 2],
      [900, 4],
    ] as const) {
      nowMs = at
      bar.onLoading(loaded(experts))
    }
    assert.deepEqual(shown, ['0.5 loading 2/4 experts, 200.0/400.0 MB', 'gone'])
  })

  it('never shows brief loads, one after the other (LB1)', () => {
    const bar = open()
    for (nowMs of [0, 400, 800, 1200]) bar.onLoading(loaded(nowMs % 800 === 0 ? 1 : 4))
    assert.deepEqual(shown, [])
  })

  it('gives way to a log line, and is gone where the load is given up (LB2)', () => {
    const bar = open()
    bar.print('before\n')
    bar.onLoading(loaded(0))
    nowMs = 500
    bar.onLoading(loaded(1))
    bar.print('beside\n')
    bar.stop()
    bar.print('after\n')
    assert.deepEqual(written, ['before\n', '\r\x1b[Kbeside\n', 'after\n'])
    assert.equal(shown.at(-1), 'gone')
  })
})
