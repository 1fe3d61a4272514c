// The other seeds of `simulation.test.ts`, in a file of their own: two files may run side by side.

import { itKeepsEveryPromise, withRunner } from './promises.js'

describe('simulation, more seeds', function () {
  this.timeout(480_000)
  itKeepsEveryPromise(withRunner(), { from: 151, to: 300 })
})
