// A process that writes until it may not write more; or, given a number, checks that as many records are there.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { openFileStore } from '../../../lib/transport/file-store.js'

const soon = { timeoutMs: 10_000 }
const [, , folder = '', expected] = process.argv
const store = await openFileStore(folder)
if (expected === undefined) {
  for (let i = 0; ; i++) {
    try {
      await store.put(`record-${i}`, Buffer.alloc(1_000, i), 0, soon)
    } catch (error) {
      const { code, details } = ClusterError.from(error)
      assert.equal(await store.get(`record-${i}`, soon), undefined)
      await store.put('small', Buffer.from('there is room for this'), 0, soon).catch(() => undefined)
      console.log(JSON.stringify({ numKept: i, error: `${code} ${details.reason ?? ''}` }))
      break
    }
  }
} else {
  for (let i = 0; i < Number(expected); i++)
    assert.deepEqual((await store.get(`record-${i}`, soon))?.value, Uint8Array.from(Buffer.alloc(1_000, i)))
  assert.equal(await store.get(`record-${expected}`, soon), undefined)
  await store.put('more', Buffer.from('room again'), 0, soon)
}
await store.close()
