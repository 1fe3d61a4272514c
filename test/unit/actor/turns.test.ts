import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { createTurns, type Turns } from '../../../lib/actor/turns.js'
import { ClusterError } from '../../../lib/errors.js'

const MAX_WAITING = 10
const MAX_WAIT_MS = 5000

/** Turns on a clock turned by hand; work ends when the test says so. */
function start() {
  const clock = createManualClock()
  const turns: Turns = createTurns({ what: 'jobs', reason: 'BUSY', maxWaiting: MAX_WAITING, maxWaitMs: MAX_WAIT_MS })
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const take = (name: string, size = 1, signal?: AbortSignal): Promise<string> =>
    turns.take({ size, clock, signal }, () => {
      begun.push(name)
      return new Promise((resolve) => ends.set(name, () => resolve(name)))
    })
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.()
    await clock.turn()
  }
  return { clock, take, begun, end }
}

const isBusy =
  (message: RegExp, retryAfterMs?: string) =>
  (error: unknown): boolean =>
    error instanceof ClusterError &&
    error.code === 'resource_exhausted' &&
    error.details.reason === 'BUSY' &&
    message.test(error.message) &&
    (retryAfterMs === undefined || error.details.retryAfterMs === retryAfterMs)

describe('turns', () => {
  it('are taken one at a time, in order, whatever becomes of the work (TN1)', async () => {
    const { take, begun, end, clock } = start()
    const all = [take('a'), take('b'), take('c')]
    await clock.turn()
    assert.deepEqual(begun, ['a'])
    await end('a')
    assert.deepEqual(begun, ['a', 'b'])
    await end('b')
    await end('c')
    assert.deepEqual(await Promise.all(all), ['a', 'b', 'c'])
    assert.equal(clock.numTimers, 0)
  })

  it('are given on where work fails', async () => {
    const clock = createManualClock()
    const turns = createTurns({ what: 'jobs', reason: 'BUSY', maxWaiting: 1, maxWaitMs: 1 })
    const visit = { size: 1, clock, signal: undefined }
    const failing = turns.take(visit, () => Promise.reject(new Error('no')))
    const next = turns.take(visit, () => Promise.resolve('yes'))
    await assert.rejects(failing, /no/)
    assert.equal(await next, 'yes')
  })

  it('are refused above the bound, with the time that what waits will take (TN2)', async () => {
    const { take, end, clock } = start()
    const first = take('first', 2)
    await clock.turn()
    clock.advance(400) // it takes 200 ms for each unit of its size
    await end('first')
    await first
    const running = take('running')
    const large = take('large', MAX_WAITING + 5) // nobody else waits
    await clock.turn()
    await assert.rejects(take('late'), isBusy(/^jobs: too many wait; try again in 3000 ms$/, '3000'))
    await end('running')
    await end('large')
    await Promise.all([running, large])
  })

  it('are refused to whom others keep waiting too long (TN2)', async () => {
    const { take, begun, end, clock } = start()
    const slow = take('slow')
    const waiting = assert.rejects(take('waiting'), isBusy(/those before it took 5 s/))
    clock.advance(MAX_WAIT_MS)
    await waiting
    await end('slow')
    await slow
    assert.deepEqual(begun, ['slow'])
  })

  it('are given up by whoever leaves, before, while he waits and while it is his (TN3)', async () => {
    const { take, begun, end, clock } = start()
    const controllers = [1, 2, 3].map(() => new AbortController())
    const [gone, running, waiting] = controllers.map(({ signal }) => signal)
    const reason = new ClusterError('deadline_exceeded', 'too late')
    controllers[0]?.abort(reason)
    await assert.rejects(take('gone', 1, gone), reason)
    const soon = new AbortController()
    const granted = assert.rejects(take('granted', 1, soon.signal), reason)
    soon.abort(reason)
    await granted
    const ended = [
      assert.rejects(take('running', 1, running), reason),
      assert.rejects(take('waiting', 1, waiting), reason),
    ]
    const last = take('last')
    await clock.turn()
    controllers[2]?.abort(reason)
    controllers[1]?.abort(reason)
    await Promise.all(ended)
    assert.deepEqual(begun, ['running']) // which ends by itself
    await end('running')
    assert.deepEqual(begun, ['running', 'last'])
    await end('last')
    assert.equal(await last, 'last')
    assert.equal(clock.numTimers, 0)
  })
})
