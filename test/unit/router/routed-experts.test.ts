import assert from 'node:assert/strict'
import { packI32 } from '../../../lib/wire/tensor.js'
import { createRoutesKeeper } from '../../../services/router/routed-experts.js'

const SHAPE = { numLayers: 2, topK: 1 }
const ROW_BYTES = 4

/** Node n goes to expert 10 n + layer. */
const routesOf = (nodes: readonly number[]) => ({
  ...packI32(nodes.flatMap((node) => [10 * node, 10 * node + 1])),
  shape: [nodes.length, 2, 1],
})

describe('createRoutesKeeper', () => {
  const start = (maxBytes = 1 << 20) => {
    const told = { full: 0 }
    return { told, open: createRoutesKeeper({ ...SHAPE, maxBytes, onFull: () => (told.full += 1) }) }
  }

  it('keeps the accepted nodes at their places; what was never computed is -2 (X1)', () => {
    const routes = start().open()
    assert.equal(routes.isEmpty, true)
    routes.keep(routesOf([0, 1]), [0, 1], 2) // after a prefix of 2
    routes.keep(routesOf([0, 1, 2, 3]), [0, 2], 4)
    const { values, shape } = routes.rows(7)
    assert.deepEqual(shape, [7, 2, 1])
    assert.deepEqual([...values], [-2, -2, -2, -2, 0, 1, 10, 11, 0, 1, 20, 21, -2, -2])
    assert.deepEqual([...routes.rows(3).values], [-2, -2, -2, -2, 0, 1])
  })

  it('replaces rows that are computed again, and keeps the others (X1)', () => {
    const routes = start().open()
    routes.keep(routesOf([5, 6, 7]), [0, 1, 2], 0)
    routes.keep(routesOf([8]), [0], 1)
    assert.deepEqual([...routes.rows(3).values], [50, 51, 80, 81, 70, 71])
  })

  it('gives up a sequence that finds no room, and its room to the others (X2)', () => {
    const { open, told } = start(100 * ROW_BYTES)
    const [a, b] = [open(), open()]
    const many = Array.from({ length: 80 }, (_, i) => i)
    a.keep(routesOf(many), many, 0)
    b.keep(routesOf(many), many, 0)
    assert.deepEqual([told.full, b.isWanted, b.isEmpty, a.isEmpty], [1, false, true, false])
    a.drop()
    const c = open()
    c.keep(routesOf(many), many, 0)
    assert.deepEqual([told.full, c.isEmpty], [1, false])
    c.drop()
    c.drop()
    c.keep(routesOf([0]), [0], 0)
    assert.equal(c.isEmpty, true)
    const whole = Array.from({ length: 100 }, (_, i) => i)
    const d = open()
    d.keep(routesOf(whole), whole, 0)
    assert.equal(d.isEmpty, false, 'what was dropped twice was given back once')
  })

  it('does without routes, or with those of another shape (X3)', () => {
    const routes = start().open()
    routes.keep(undefined, [0], 0)
    routes.keep({ ...packI32([1, 2, 3]), shape: [1, 3, 1] }, [0], 0)
    assert.equal(routes.isEmpty, true)
  })
})
