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

  it('tells whoever listens once, in order, and nobody who left or came too late', () => {
    const linked = linkedSignal([])
    const { signal } = linked
    const told: string[] = []
    const left = (): void => void told.push('left')
    signal.addEventListener('abort', () => {
      told.push('first')
      signal.removeEventListener('abort', left)
    })
    signal.addEventListener('abort', left)
    signal.removeEventListener('abort', left)
    signal.addEventListener('abort', () => void told.push('second'))
    const reason = new Error('given up')
    linked.abort(reason)
    linked.abort()
    signal.addEventListener('abort', () => void told.push('late'))
    assert.deepEqual([told, signal.aborted, signal.reason], [['first', 'second'], true, reason])
  })

  it('leaves nothing on its sources after release', () => {
    const source = new AbortController().signal
    for (let i = 0; i < 100; i++) linkedSignal([source]).release()
    assert.equal(getEventListeners(source, 'abort').length, 0)
  })
})
