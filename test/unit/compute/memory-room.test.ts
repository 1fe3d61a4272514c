import assert from 'node:assert/strict'
import { engineRoom, processRoom, requireRoom } from '../../../lib/compute/memory-room.js'
import { ClusterError } from '../../../lib/errors.js'

describe('requireRoom', () => {
  it('refuses what is more than the least room, with the arithmetic', () => {
    const limit = { bytes: 1.5e9, because: 'memory limit 2.00 GB less 0.50 GB in use' }
    requireRoom('x', 1.5e9, [limit, engineRoom(0)])
    assert.throws(
      () => requireRoom('model: experts of 2 shards in int8', 2.25e9, [engineRoom(0), limit]),
      (error) =>
        error instanceof ClusterError &&
        error.code === 'resource_exhausted' &&
        error.message.startsWith(
          'model: experts of 2 shards in int8: want 2.25 GB, got room for 1.50 GB (memory limit 2.00 GB less 0.50 GB in use)',
        ),
    )
    assert.throws(
      () => requireRoom('x', 4e9, [engineRoom(1e9)]),
      /got room for 3.29 GB \(one process computes in 4.29 GB/,
    )
  })

  it('finds some room in this process', () => assert.ok(processRoom().bytes > 0))
})
