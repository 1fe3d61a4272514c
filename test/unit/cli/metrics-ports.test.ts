import assert from 'node:assert/strict'
import { metricsPorts } from '../../../cli/cluster/metrics-ports.js'
import { resolveConfig } from '../../../lib/config/resolve.js'

describe('metricsPorts', () => {
  const portsWith = (metricsPort?: string) => {
    const { config } = resolveConfig({ flags: { metricsPort }, env: {}, machine: { model: 'm', cores: 1 } })
    const next = metricsPorts(config)
    return (['router', 'expert-worker', 'attention'] as const).map((role) => next(role, 0))
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

  it('gives a service that is started again, or takes the place of one that has left, the same port', () => {
    const { config } = resolveConfig({
      flags: { metricsPort: '9400' },
      env: {},
      machine: { model: 'm', cores: 1 },
    })
    const portOf = metricsPorts(config)
    assert.equal(portOf('router', 0), 9400)
    assert.equal(portOf('expert-worker', 0), 9401)
    for (let round = 0; round < 3; round++) assert.equal(portOf('expert-worker', 1), 9402)
    assert.equal(portOf('router', 1), 9403)
    assert.equal(portOf('expert-worker', 0), 9401)
  })

  it('says what it wants where a value is neither', () => {
    for (const value of ['on', '-1', '65536', '9.5']) {
      assert.throws(() => portsWith(value), /metrics-port: want a whole number from 0 to 65535, or off, found/)
    }
  })
})
