// The tests of a row of seeds (docs/simulator.md): each a cluster, calls and faults of its own.

import assert from 'node:assert/strict'
import { scenarioNamed } from './plan.js'
import { openRunner, type Runner } from './runner.js'

const PER_TEST = 50

/** A runner for the tests around; call it where they are described. */
export function withRunner(): () => Runner {
  let runner: Runner
  before(async () => {
    runner = await openRunner()
  })
  after(() => runner.close())
  return () => runner
}

/** What is wrong, each with the flags that run its seed again. */
export async function wrongOf(runner: Runner, seed: number, scenario = 'all'): Promise<string[]> {
  const { wrong } = await runner.run(seed, scenarioNamed(scenario))
  return wrong.map((what) => `--seed ${seed} --scenario ${scenario}: ${what}`)
}

/** A test for every so many of the seeds. */
export function itKeepsEveryPromise(runner: () => Runner, seeds: { readonly from: number; readonly to: number }): void {
  for (let first = seeds.from; first <= seeds.to; first += PER_TEST) {
    const last = Math.min(seeds.to, first + PER_TEST - 1)
    it(`keeps every promise with seeds ${first} to ${last}`, async () => {
      const wrong: string[] = []
      for (let seed = first; seed <= last; seed++) wrong.push(...(await wrongOf(runner(), seed)))
      assert.deepEqual(wrong, [])
    })
  }
}
