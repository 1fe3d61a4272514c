import assert from 'node:assert/strict'
import { metricsPorts } from '../../../cli/cluster/metrics-ports.js'
import { resolveConfig } from '../../../lib/config/resolve.js'

describe('metricsPorts', () => {
  const portsWith = (metricsPort?: string) => {
    const { config } = resolveConfig({ flags: { metricsPort }, env: {}, machine: { model: 'm', cores: 1 } })
    const next = metricsPorts(config)
    return (['router', 'expert-worker', 'attention'] as const).map(next)
  }

  it('gives every process but routers a free port where nobody says otherwise', () => {
    assert.deepEqual(portsWith(), ['off', 0, 0])
  })

  it('gives every process a free port, or none', () => {
    assert.deepEqual(portsWith('0'), [0, 0, 0])
    assert.deepEqual(portsWith('off'), ['off', 'off', 'off'])
  })

  it('counts up from a port, and takes free ones where there are no more', () => {
    assert.deepEqual(portsWith('9400'), [9400, 9401, 9402])
    assert.deepEqual(portsWith('65535'), [65_535, 0, 0])
  })

  it('says what it wants where a value is neither', () => {
    for (const value of ['on', '-1', '65536', '9.5']) {
      assert.throws(() => portsWith(value), /metrics-port: want a whole number from 0 to 65535, or off, found/)
    }
  })
})
