import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { EXACT_BLOCK, fitTree, tailSlots } from '../../../lib/speculative/tail-layout.js'
import { ancestors, chain, depths } from '../../../lib/speculative/token-tree.js'
import { anyTree } from './draw-tree.js'

const TREES = anyTree({ maxNodes: 200, vocabSize: 50 })
const BASES = fc.nat(600)
const blockOf = (index: number): number => Math.floor(index / EXACT_BLOCK)
const isInvalid = (error: unknown): boolean => error instanceof ClusterError && error.code === 'invalid_argument'

/** What a fitted tree looks like: nodes with their positions and slots. */
function laidOut(base: number, tree: Parameters<typeof fitTree>[0], maxPositions = 2000) {
  const fitted = fitTree(tree, base, maxPositions)
  const positions = Array.from(depths(fitted), (depth) => base + depth)
  return { fitted, positions, slots: [...tailSlots(base, depths(fitted))] }
}

describe('tailSlots', () => {
  it('puts a chain where its positions are', () => {
    fc.assert(
      fc.property(BASES, fc.integer({ min: 1, max: 500 }), (base, length) => {
        const slots = tailSlots(base, depths(chain(new Int32Array(length))))
        assert.deepEqual(
          [...slots],
          Array.from({ length }, (_, i) => base + i),
        )
      }),
    )
  })

  it('puts every node into the block of its position, two never into one slot', () => {
    fc.assert(
      fc.property(BASES, TREES, (base, tree) => {
        const { positions, slots } = laidOut(base, tree)
        assert.deepEqual(slots.map(blockOf), positions.map(blockOf))
        assert.equal(new Set(slots).size, slots.length)
        assert.ok(slots.every((slot) => slot >= base))
      }),
    )
  })

  it('lets slots rise along a path and never fall below the position', () => {
    fc.assert(
      fc.property(BASES, TREES, (base, tree) => {
        const { fitted, positions, slots } = laidOut(base, tree)
        for (let node = 0; node < slots.length; node++) {
          const path = ancestors(fitted, node).map((at) => slots[at]!)
          assert.ok(
            path.every((slot, i) => i === 0 || slot > path[i - 1]!),
            `path ${path.join(' ')}`,
          )
          assert.ok(slots[node]! >= positions[node]!)
        }
      }),
    )
  })

  it('shifts the nodes after a sibling, within their block', () => {
    assert.deepEqual([...tailSlots(126, [0, 1, 2, 2, 3])], [126, 127, 128, 129, 130])
    assert.deepEqual([...tailSlots(10, [0, 1, 1, 2])], [10, 11, 12, 13])
  })

  it('refuses a tail whose block overflows', () => {
    assert.throws(() => tailSlots(126, [0, 1, 1]), isInvalid)
  })
})

describe('fitTree', () => {
  it('keeps a tree that fits as it is', () => {
    const tree = { tokens: [1, 2, 3], parents: [-1, 0, 0] }
    assert.deepEqual([...fitTree(tree, 100, 2000).kept], [0, 1, 2])
  })

  it('drops the later node of a full block, and what hangs on it', () => {
    const tree = { tokens: [1, 2, 3, 4, 5], parents: [-1, 0, 0, 2, 1] }
    assert.deepEqual([...fitTree(tree, 126, 2000).kept], [0, 1, 4])
  })

  it('drops what lies beyond the context', () => {
    assert.deepEqual([...fitTree(chain([1, 2, 3, 4]), 10, 12).kept], [0, 1])
  })

  it('always lays out, keeps the root and the order, and drops nothing without need', () => {
    fc.assert(
      fc.property(BASES, TREES, fc.integer({ min: 1, max: 20 }), (base, tree, room) => {
        const { fitted, positions } = laidOut(base, tree, base + room)
        assert.ok(positions.every((position) => position < base + room))
        assert.ok(fitted.parents.every((parent, node) => parent < node))
        assert.ok(fitted.kept.every((node, i) => (i === 0 ? node === 0 : node > fitted.kept[i - 1]!)))
        const isRoomy =
          tree.tokens.length <= EXACT_BLOCK - (base % EXACT_BLOCK) && room >= 20 && Math.max(...depths(tree)) < 20
        if (isRoomy) assert.equal(fitted.kept.length, tree.tokens.length)
      }),
    )
  })

  it('refuses a root beyond the context', () => assert.throws(() => fitTree(chain([1]), 12, 12), isInvalid))
})
