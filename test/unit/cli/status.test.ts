import assert from 'node:assert/strict'
import { describe as describeStatus, type Status } from '../../../cli/commands/status.js'

const worker = {
  role: 'expert-worker',
  id: 'expert-worker-0',
  pid: 1,
  state: 'ready',
  deviceClass: 'cpu-a',
  shards: [0, 1],
  load: { busy: 0.5 },
}
const status: Status = {
  model: 'demo',
  fingerprint: 'bny-0',
  epoch: 3,
  deviceClasses: { attention: 'webgpu-b', experts: 'cpu-a' },
  processes: [worker, { ...worker, id: 'expert-worker-1', deviceClass: 'webgpu-b', shards: [], reserve: true }],
  requests: { running: 0, waiting: 0 },
  placement: { shards: 2, replicas: 1, copies: 1, imbalance: 1.26, moves: 2 },
  kvUsage: 0,
}

describe('banyan status', () => {
  it('names the classes that serve, who stands by, and how even the load is', () => {
    const text = describeStatus(status)
    assert.match(text, /attention on webgpu-b, experts on cpu-a/)
    assert.match(text, /busiest expert worker 1\.26 of the mean, rebalanced 2 times/)
    const [first = '', second = ''] = text.split('\n').filter((line) => line.includes('expert-worker-'))
    assert.ok(!first.includes('reserve') && second.includes('ready (reserve)'))
  })

  it('reads what an older router says', () => {
    const text = describeStatus({
      ...status,
      deviceClasses: undefined,
      placement: { shards: 2, replicas: 1, copies: 1 },
    })
    assert.doesNotMatch(text, /busiest|attention on/)
  })
})
