// Whole clusters under virtual time (docs/simulator.md): the seeds that once failed, and the first of the others.

import assert from 'node:assert/strict'
import { keptSeeds } from './kept-seeds.js'
import { scenarioNamed } from './plan.js'
import { itKeepsEveryPromise, withRunner, wrongOf } from './promises.js'

describe('simulation', function () {
  this.timeout(480_000)
  const runner = withRunner()

  it('is a function of its seed, message by message', async () => {
    for (const [seed, scenario] of [
      [1, 'all'],
      [2, 'kill-in-write'],
    ] as const) {
      const first = await runner().run(seed, scenarioNamed(scenario))
      assert.deepEqual((await runner().run(seed, scenarioNamed(scenario))).digest, first.digest)
    }
  })

  it('keeps every promise with the seeds that once failed', async () => {
    const wrong: string[] = []
    for (const { seed, scenario } of keptSeeds()) wrong.push(...(await wrongOf(runner(), seed, scenario)))
    assert.deepEqual(wrong, [])
  })

  itKeepsEveryPromise(runner, { from: 1, to: 150 })
})
