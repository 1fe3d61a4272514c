// AR1: whatever ends a request ends the reading of its prompt, too.

import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { createArrivals } from '../../../services/router/arrivals.js'

describe('a request whose prompt is being read', () => {
  const start = () => {
    const clock = createManualClock(1000)
    const arrivals = createArrivals(clock)
    const client = new AbortController()
    const endless = (signal: AbortSignal): Promise<never> =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(ClusterError.from(signal.reason))))
    const read = (name: { id: string; tenant?: string; deadlineMs?: number }): Promise<never> =>
      arrivals.during({ tenant: '', deadlineMs: undefined, ...name }, client.signal, endless)
    return { clock, arrivals, client, read }
  }
  const isCode = (code: string) => (error: unknown) => error instanceof ClusterError && error.code === code
  const cancelled = new ClusterError('cancelled', 'by its id')

  it('ends when it is cancelled, by its id and tenant', async () => {
    const { arrivals, read, client } = start()
    const mine = assert.rejects(read({ id: 'r' }), cancelled)
    const others = assert.rejects(read({ id: 'r', tenant: 'other' }), isCode('cancelled'))
    assert.ok(arrivals.has({ id: 'r', tenant: '' }) && !arrivals.has({ id: 'q', tenant: '' }))
    arrivals.end({ id: 'r', tenant: '' }, cancelled)
    await mine
    assert.deepEqual([arrivals.has({ id: 'r', tenant: '' }), arrivals.has({ id: 'r', tenant: 'other' })], [false, true])
    client.abort()
    await others
  })

  it('ends when its client leaves', async () => {
    const { read, client } = start()
    const ended = assert.rejects(read({ id: 'r' }), isCode('cancelled'))
    client.abort()
    await ended
    await assert.rejects(
      createArrivals(createManualClock()).during(
        { id: 'r', tenant: '', deadlineMs: undefined },
        client.signal,
        async (signal) => signal.throwIfAborted(),
      ),
      /aborted/,
    )
  })

  it('ends at its deadline, and lets that go when it ends before', async () => {
    const { clock, read, arrivals, client } = start()
    const ended = assert.rejects(read({ id: 'r', deadlineMs: 3000 }), isCode('deadline_exceeded'))
    clock.advance(1999)
    assert.ok(arrivals.has({ id: 'r', tenant: '' }))
    clock.advance(1)
    await ended
    const name = { id: 'q', tenant: '', deadlineMs: 9000 }
    assert.equal(await arrivals.during(name, client.signal, () => Promise.resolve(7)), 7)
    assert.equal(clock.numTimers, 0)
  })

  it('ends with the router', async () => {
    const { read, arrivals } = start()
    const leaving = new ClusterError('unavailable', 'leaving')
    const ended = [assert.rejects(read({ id: 'a' }), leaving), assert.rejects(read({ id: 'b' }), leaving)]
    arrivals.endAll(leaving)
    await Promise.all(ended)
  })
})
