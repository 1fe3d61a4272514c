// Helpers rest while threads wait for a core, and come back: on clocks that the test turns, and on this system's own.

import assert from 'node:assert/strict'
import { createCrowding, MOST_PAUSE_MS } from '../../../lib/compute/crowding.js'
import { createKernels } from '../../../lib/compute/kernels.js'
import { openThreadClocks, threadNumber } from '../../../lib/compute/thread-times.js'
import { eventually } from '../../helpers/eventually.js'
import { product } from './product.js'
import { probeValues } from '../../../lib/compute/probe-values.js'

/** An engine with `numHelpers` whose threads wait for a core a share of the time, which may depend on how many compute. */
function crowd(numHelpers: number) {
  let [now, active, ran, waited] = [0, numHelpers, 0, 0]
  const changes: { readonly atMs: number; readonly active: number }[] = []
  const look = createCrowding({
    numHelpers,
    nowMs: () => now,
    times: () => Array.from({ length: numHelpers + 1 }, () => ({ ranMs: ran, waitedMs: waited })),
    setActive: (next) => {
      active = next
      changes.push({ atMs: now, active })
    },
  })
  const pass = (ms: number, waiting: (active: number) => number): void => {
    for (const end = now + ms; now < end; now += 5) {
      const share = waiting(active) / (numHelpers + 1)
      waited += 5 * share
      ran += 5 * (1 - share)
      look()
    }
  }
  return { pass, changes, active: () => active }
}

describe('helpers beside other processes', () => {
  it('compute where nobody else wants the cores, or little', () => {
    const { pass, changes } = crowd(3)
    pass(5_000, () => 0)
    pass(5_000, () => 0.2)
    assert.deepEqual(changes, [])
  })

  it('rest where threads wait, try again ever more seldom, and are back once the cores are free', () => {
    const { pass, changes, active } = crowd(1)
    const isCrowded = (helpers: number): number => helpers * 1.2
    pass(60_000, isCrowded)
    const tries = changes.filter((change) => change.active === 1)
    assert.ok(tries.length > 3 && tries.length < 25, `${tries.length} tries in a minute`)
    pass(MOST_PAUSE_MS + 200, () => 0)
    assert.equal(active(), 1)
    const numChanges = changes.length
    pass(10_000, () => 0)
    assert.equal(changes.length, numChanges)
  })

  it('rest only as far as it takes: one core that another process wants costs one of seven', () => {
    const { pass, changes, active } = crowd(7)
    pass(1_000, (helpers) => Math.max(0, helpers - 6) * 0.5)
    assert.equal(active(), 6)
    assert.ok(changes.every((change) => change.active >= 6))
  })

  it('are left alone where there is little to do, or the system does not tell', () => {
    let sets = 0
    const look = (times: () => { ranMs: number; waitedMs: number }[] | undefined) => {
      let now = 0
      const run = createCrowding({ numHelpers: 1, nowMs: () => (now += 60), times, setActive: () => sets++ })
      for (let i = 0; i < 50; i++) run()
    }
    let waitedMs = 0
    look(() => [{ ranMs: 0, waitedMs: (waitedMs += 1) }])
    look(() => undefined)
    assert.equal(sets, 0)
  })
})

describe('what the system counts of threads', () => {
  before(function () {
    if (threadNumber() === 0) this.skip() // not Linux
  })

  it('grows while one runs; a thread that is none is not counted', async () => {
    const clocks = openThreadClocks([threadNumber()])
    const [first] = clocks.read() ?? assert.fail('no times')
    await eventually(() => {
      const until = performance.now() + 20
      while (performance.now() < until);
      const [now] = clocks.read() ?? []
      return (now?.ranMs ?? 0) > (first?.ranMs ?? 0)
    }, 'a thread that computes is seen to run')
    clocks.close()
    assert.equal(openThreadClocks([threadNumber(), 2 ** 30]).read(), undefined) // there is none of that number
  })

  it('is read by an engine, whose results stay what they are', async () => {
    const kernels = createKernels(2)
    const shape = { format: 'int8', inputs: 64, outputs: 640, pieces: 8 } as const
    const x = probeValues(64, 4, 3)
    const wanted = product(kernels, shape, x)
    const until = performance.now() + 200
    while (performance.now() < until) assert.deepEqual(product(kernels, shape, x), wanted)
    await kernels.dispose()
  })
})
