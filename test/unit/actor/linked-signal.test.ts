import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { linkedSignal } from '../../../lib/actor/linked-signal.js'

describe('linkedSignal', () => {
  it('follows any of its sources', () => {
    const [a, b] = [new AbortController(), new AbortController()]
    const linked = linkedSignal([a.signal, undefined, b.signal])
    assert.equal(linked.signal.aborted, false)
    b.abort()
    assert.equal(linked.signal.aborted, true)
  })

  it('is aborted from the start where a source is', () => assert.ok(linkedSignal([AbortSignal.abort()]).signal.aborted))

  it('leaves nothing on its sources after release', () => {
    const source = new AbortController().signal
    for (let i = 0; i < 100; i++) linkedSignal([source]).release()
    assert.equal(getEventListeners(source, 'abort').length, 0)
  })
})
