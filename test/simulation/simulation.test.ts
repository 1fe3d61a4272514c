// Whole clusters under virtual time (docs/simulator.md): many seeds, each a cluster, calls and faults of its own.

import assert from 'node:assert/strict'
import { keptSeeds } from './kept-seeds.js'
import { scenarioNamed } from './plan.js'
import { openRunner, type Runner } from './runner.js'

const NUM_SEEDS = 100
const PER_TEST = 50

describe('simulation', function () {
  this.timeout(240_000)
  let runner: Runner
  before(async () => {
    runner = await openRunner()
  })
  after(() => runner.close())

  const wrongOf = async (seed: number, scenario = 'all'): Promise<string[]> => {
    const { wrong } = await runner.run(seed, scenarioNamed(scenario))
    return wrong.map((what) => `--seed ${seed} --scenario ${scenario}: ${what}`)
  }

  it('is a function of its seed, message by message', async () => {
    for (const seed of [1, 2]) {
      const first = await runner.run(seed, scenarioNamed('all'))
      assert.deepEqual((await runner.run(seed, scenarioNamed('all'))).digest, first.digest)
    }
  })

  it('keeps every promise with the seeds that once failed', async () => {
    const wrong: string[] = []
    for (const { seed, scenario } of keptSeeds()) wrong.push(...(await wrongOf(seed, scenario)))
    assert.deepEqual(wrong, [])
  })

  for (let first = 1; first <= NUM_SEEDS; first += PER_TEST) {
    it(`keeps every promise with seeds ${first} to ${first + PER_TEST - 1}`, async () => {
      const wrong: string[] = []
      for (let seed = first; seed < first + PER_TEST; seed++) wrong.push(...(await wrongOf(seed)))
      assert.deepEqual(wrong, [])
    })
  }
})
