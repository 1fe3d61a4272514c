// A few faults of `npm run chaos` on every commit.

import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { chooseCases } from './cases.js'
import { createMixes } from './mixes.js'
import { hasProcessTable } from './process-table.js'
import { runCase } from './run-case.js'

const STREAMS = 8
const MAX_TOKENS = 96
const NAMES = ['kill-attention', 'kill-router-of-two', 'kill-nats', 'partition-attention-cut'] // e2e/kill has others

describe('chaos: real processes fail in the middle of streams', function () {
  this.timeout(300_000)
  const seed = randomInt(2 ** 31)
  const mixOf = createMixes({ streams: STREAMS, seed, maxTokens: MAX_TOKENS })

  before(function () {
    if (!hasProcessTable()) this.skip()
  })

  for (const chaosCase of NAMES.flatMap((name) => chooseCases([name]))) {
    it(`${chaosCase.name}: the answers are those of a quiet run, and all is as before`, async () => {
      const lines: string[] = []
      const notify = (line: string): number => lines.push(line)
      const result = await runCase(chaosCase, { ...(await mixOf(chaosCase)), seed, measuresGaps: false, notify })
      const again = `npm run chaos -- --case ${chaosCase.name} --seed ${seed} --streams ${STREAMS} --max-tokens ${MAX_TOKENS}`
      assert.deepEqual(result.problems, [], [...lines, again].join('\n'))
    })
  }
})
