// What is counted with every step waits for a scrape, and every scrape sees all of it.

import assert from 'node:assert/strict'
import { createMetricsRegistry } from '../../../lib/metrics/registry.js'

describe('what happens with every step', () => {
  it('is added up until a scrape, and exists at 0 before', async () => {
    const registry = createMetricsRegistry('m')
    const rows = registry.tally('rows_total', 'Rows.')
    const steps = registry.tallies('steps_total', 'Steps.', { label: 'outcome', values: ['ok', 'failed'] })
    assert.match(await registry.text(), /rows_total\{model_name="m"\} 0\n/)
    for (const count of [3, 4]) rows(count)
    steps(0, 1)
    steps(0, 1)
    for (const scrape of [await registry.text(), await registry.text()]) {
      assert.match(scrape, /rows_total\{model_name="m"\} 7\n/)
      assert.match(scrape, /steps_total\{outcome="ok",model_name="m"\} 2\n/)
      assert.match(scrape, /steps_total\{outcome="failed",model_name="m"\} 0\n/)
    }
    assert.deepEqual(registry.metrics[1]?.labels, ['outcome'])
  })

  it('is in the histogram at a scrape, however much of it there was', async () => {
    const registry = createMetricsRegistry('m')
    const seconds = registry.timings('step_seconds', 'Duration.', [0.1, 1])
    const numValues = 150
    for (let i = 0; i < numValues; i++) seconds(i % 3 === 0 ? 0.05 : 0.5)
    for (const scrape of [await registry.text(), await registry.text()]) {
      assert.match(scrape, /step_seconds_bucket\{le="0.1",model_name="m"\} 50\n/)
      assert.match(scrape, /step_seconds_count\{model_name="m"\} 150\n/)
    }
  })
})
