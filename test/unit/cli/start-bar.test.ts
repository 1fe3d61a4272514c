import assert from 'node:assert/strict'
import { createStartBar } from '../../../cli/start-bar.js'

describe('the bar of a start', () => {
  let texts: string[]
  let shares: number[]
  let nowMs: number
  const open = () => {
    ;[texts, shares, nowMs] = [[], [], 0]
    const update = (share: number, text: string): void => {
      texts.push(text)
      shares.push(share)
    }
    return createStartBar({ update, stop: () => texts.push('stopped') }, 3, () => nowMs)
  }
  const load = (experts: number, bytes: number) => ({ experts, totalExperts: 10, bytes, totalBytes: 1e9 })

  it('shows experts and bytes of all loads together, once they have lasted half a second', () => {
    const bar = open()
    bar.onStarted()
    bar.onLoading('expert-worker-0', load(1, 1e8))
    nowMs = 400
    bar.onLoading('expert-worker-1', load(2, 2e8))
    assert.deepEqual(new Set(texts), new Set(['starting 0/3 services', 'starting 1/3 services']))
    nowMs = 500
    bar.onLoading('expert-worker-0', load(4, 4e8))
    assert.equal(texts.at(-1), 'loading 6/20 experts, 0.60/2.00 GB')
    assert.ok(Math.abs((shares.at(-1) ?? 0) - 0.3) < 1e-9)
    bar.stop()
    assert.equal(texts.at(-1), 'stopped')
  })

  it('never shows a load that is brief, also after another one (SB1)', () => {
    const bar = open()
    for (nowMs of [0, 400, 1000, 1400])
      bar.onLoading('attention-0', load(nowMs % 1000 === 0 ? 1 : 10, nowMs % 1000 === 0 ? 1 : 1e9))
    assert.deepEqual(new Set(texts), new Set(['starting 0/3 services']))
  })
})
