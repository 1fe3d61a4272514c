// Decides where rows of committed tokens and of tree nodes lie in a draft model's cache, and what they see of it.

import assert from 'node:assert/strict'
import { PAGE_SLOTS } from '../../../lib/compute/kv-layout.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { NodeCache } from '../../../services/drafter/node-cache.js'

const HEAD_DIM = 8
const pool = {
  kernels: sharedKernels(1),
  layers: [{ numKvHeads: 1, headDim: HEAD_DIM, valueDim: HEAD_DIM }],
  format: 'f32' as const,
}

/** The values of a page's one head: [slots, headDim]; its keys lie before them. */
function valuesOf(page: number): Float32Array {
  const size = PAGE_SLOTS * HEAD_DIM
  return pool.kernels.floats(page + size * 4, size)
}

/** Three committed places and, above them, the nodes  0 ── 1 ── 3   and   0 ── 2. */
function cacheWithNodes(): NodeCache {
  const cache = new NodeCache(pool)
  cache.append(3)
  cache.place([
    { node: 1, parent: 0 },
    { node: 2, parent: 0 },
  ])
  cache.place([{ node: 3, parent: 1 }])
  return cache
}

describe('NodeCache', () => {
  it('N1 commits appended rows at once, each seeing those before it and itself', () => {
    const cache = new NodeCache(pool)
    cache.append(2)
    const { slots, views } = cache.append(2)
    assert.equal(cache.length, 4)
    assert.deepEqual([[...Array.from(slots)], views], [[2, 3], [3, 4].map((prefix) => ({ prefix, more: [] }))])
  })

  it('N1 gives each node a slot of its own, from which it sees what is committed and its path', () => {
    const cache = new NodeCache(pool)
    cache.append(3)
    const first = cache.place([
      { node: 1, parent: 0 },
      { node: 2, parent: 0 },
    ])
    const second = cache.place([
      { node: 3, parent: 1 },
      { node: 4, parent: 3 },
    ])
    const wanted = [[3], [4], [3, 5], [3, 5, 6]].map((more) => ({ prefix: 3, more }))
    assert.deepEqual([...first.views, ...second.views], wanted)
    assert.deepEqual([...Array.from(first.slots), ...Array.from(second.slots)], [3, 4, 5, 6])
    assert.equal(cache.length, 3)
  })

  it('knows the nodes that were run', () => {
    const cache = cacheWithNodes()
    assert.deepEqual(
      [1, 2, 3, 4].map((node) => cache.has(node)),
      [true, true, true, false],
    )
  })

  it('N2 keeps a path and forgets the other nodes', () => {
    const cache = cacheWithNodes()
    cache.commit([1, 3])
    assert.equal(cache.length, 5)
    assert.ok(![1, 2, 3].some((node) => cache.has(node)))
    assert.deepEqual(cache.place([{ node: 1, parent: 0 }]).views, [{ prefix: 5, more: [5] }])
  })

  it('N2 moves what a path left down to the committed places', () => {
    const cache = cacheWithNodes()
    const { pages } = cache.place([{ node: 4, parent: 2 }])
    const values = valuesOf(pages[0]!)
    for (let slot = 0; slot < 7; slot++) values.fill(slot, slot * 8, slot * 8 + 8)
    cache.commit([2, 4])
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((slot) => [values[slot * 8], values[slot * 8 + 7]]),
      [0, 1, 2, 4, 6].map((slot) => [slot, slot]),
    )
  })

  it('N2 forgets nodes when rows are appended', () => {
    const cache = cacheWithNodes()
    cache.append(1)
    assert.deepEqual([cache.has(1), cache.length], [false, 4])
  })

  it('has pages for all its places and gives them back', () => {
    const used = pool.kernels.usedBytes
    const cache = new NodeCache(pool)
    const { pages } = cache.append(1000)
    assert.ok(pages.length > 1)
    cache.place([{ node: 1, parent: 0 }])
    cache.release()
    assert.equal(pool.kernels.usedBytes, used)
  })
})
