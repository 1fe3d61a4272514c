// When an expert worker has what its routers placed on it.

import assert from 'node:assert/strict'
import { createWants } from '../../../services/expert-worker/wants.js'

describe('what routers want of an expert worker', () => {
  const shards: number[] = []
  let isClosed = false
  let load: () => void
  const store = {
    shards,
    close: () => void (isClosed = true),
    place: (wanted: readonly number[]) =>
      new Promise<void>((resolve) => {
        load = () => {
          shards.splice(0, shards.length, ...wanted)
          resolve()
        }
      }),
  }
  beforeEach(() => shards.splice(0))

  it('is settled when a router has spoken and its shards are loaded, again after every change', async () => {
    const wants = createWants(store, () => undefined)
    assert.ok(!wants.isSettled, 'nobody has accepted this worker')
    const placed = wants.set('router-0', [1, 2])
    assert.ok(!wants.isSettled, 'it loads')
    load()
    await placed
    assert.ok(wants.isSettled)
    const more = wants.set('router-1', [3])
    assert.ok(!wants.isSettled)
    load()
    await more
    assert.ok(wants.isSettled)
  })

  it('owes nobody what it does not hold once it leaves, and refuses what it lacks', async () => {
    const wants = createWants(store, () => undefined)
    shards.push(1)
    void wants.set('router-0', [1, 2])
    wants.close()
    assert.ok(isClosed)
    assert.deepEqual([...wants.wantedBy], [['router-0', [1]]])
    const again = wants.set('router-1', [1, 3])
    shards.push(2)
    load()
    await assert.rejects(again, { code: 'failed_precondition', message: /shards 3 are not loaded/ })
    assert.deepEqual(wants.wantedBy.get('router-1'), [1])
  })

  it('is settled where routers accept the worker, and need no shard of it', async () => {
    const wants = createWants(store, () => undefined)
    const placed = wants.set('router-0', [])
    load()
    await placed
    assert.ok(wants.isSettled)
  })
})
