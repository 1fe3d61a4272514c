import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { ancestors, chain, checkTree, depths, fitTree, pruneTree } from '../../../lib/speculative/token-tree.js'
import { anyTree } from './draw-tree.js'

//         0:7
//        /   \
//      1:4   2:5
//     /   \     \
//   3:6   4:5   5:6
const TREE = { tokens: [7, 4, 5, 6, 5, 6], parents: [-1, 0, 0, 1, 1, 2] }
const LIMITS = { maxNodes: 6, vocabSize: 8, root: 7 }

describe('checkTree', () => {
  it('accepts any tree of distinct children, parents first', () => {
    fc.assert(
      fc.property(anyTree({ maxNodes: 30, vocabSize: 5 }), (tree) => {
        checkTree(tree, { maxNodes: 30, vocabSize: 5, root: tree.tokens[0]! })
      }),
    )
  })

  const refuse = (name: string, tree: typeof TREE, pattern: RegExp, limits: typeof LIMITS = LIMITS): void => {
    it(`refuses ${name}`, () =>
      assert.throws(
        () => checkTree(tree, limits),
        (error) => error instanceof ClusterError && error.code === 'invalid_argument' && pattern.test(error.message),
      ))
  }
  refuse('an empty tree', { tokens: [], parents: [] }, /want 1 to 6 nodes, got 0/)
  refuse('too many nodes', TREE, /want 1 to 5 nodes, got 6/, { ...LIMITS, maxNodes: 5 })
  refuse('another number of parents', { ...TREE, parents: [-1] }, /want 6 parents, got 1/)
  refuse('another root', TREE, /want root 3, got 7/, { ...LIMITS, root: 3 })
  refuse('a root with a parent', { ...TREE, parents: [0, 0, 0, 1, 1, 2] }, /parent -1 at node 0/)
  refuse('a second root', { ...TREE, parents: [-1, 0, -1, 1, 1, 2] }, /node 2: want a parent before it, got -1/)
  refuse('a cycle', { ...TREE, parents: [-1, 3, 0, 1, 1, 2] }, /node 1: want a parent before it, got 3/)
  refuse('a node that is its own parent', { ...TREE, parents: [-1, 1, 0, 1, 1, 2] }, /node 1/)
  refuse('a parent that is no integer', { ...TREE, parents: [-1, 0, 0.5, 1, 1, 2] }, /node 2/)
  refuse('a token beyond the vocabulary', { ...TREE, tokens: [7, 4, 5, 6, 8, 6] }, /node 4: .* below 8, got 8/)
  refuse('a negative token', { ...TREE, tokens: [7, 4, -1, 6, 5, 6] }, /node 2: .* got -1/)
  refuse('twin children', { ...TREE, tokens: [7, 4, 5, 6, 6, 6] }, /node 4: token 6 is a child of node 1 already/)
})

describe('depths', () => {
  it('counts the edges from the root', () => assert.deepEqual([...depths(TREE)], [0, 1, 1, 2, 2, 2]))
})

describe('ancestors', () => {
  it('gives the path from the root to the node', () => assert.deepEqual(ancestors(TREE, 4), [0, 1, 4]))
  it('has one node more than the depth', () => {
    fc.assert(
      fc.property(anyTree({ maxNodes: 30, vocabSize: 5 }), (tree) => {
        const lengths = Array.from(tree.tokens, (_, node) => ancestors(tree, node).length - 1)
        assert.deepEqual(lengths, [...depths(tree)])
      }),
    )
  })
})

describe('chain', () => {
  it('puts each token under the one before it', () =>
    assert.deepEqual(Array.from(chain([5, 5, 6]).parents), [-1, 0, 1]))
})

describe('pruneTree', () => {
  it('drops a refused node with its descendants', () => {
    const pruned = pruneTree(TREE, (node) => node !== 1)
    assert.deepEqual(
      [[...pruned.tokens], [...pruned.parents], [...pruned.kept]],
      [
        [7, 5, 6],
        [-1, 0, 1],
        [0, 2, 5],
      ],
    )
  })

  it('keeps a tree, in order, whatever is refused', () => {
    const drawing = fc.tuple(
      anyTree({ maxNodes: 30, vocabSize: 5 }),
      fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
    )
    fc.assert(
      fc.property(drawing, ([tree, choices]) => {
        const pruned = pruneTree(tree, (node) => node === 0 || choices[node]!)
        checkTree(pruned, { maxNodes: 30, vocabSize: 5, root: tree.tokens[0]! })
        const path = (of: typeof tree, node: number): number[] => ancestors(of, node).map((at) => of.tokens[at]!)
        pruned.kept.forEach((node, place) => assert.deepEqual(path(pruned, place), path(tree, node)))
      }),
    )
  })
})

describe('fitTree', () => {
  it('keeps a tree that fits as it is', () => assert.deepEqual([...fitTree(TREE, 100, 103).kept], [0, 1, 2, 3, 4, 5]))

  it('drops what lies beyond the context', () => assert.deepEqual([...fitTree(TREE, 10, 12).kept], [0, 1, 2]))

  it('drops by depth alone: siblings may be as many as they are', () => {
    fc.assert(
      fc.property(
        anyTree({ maxNodes: 60, vocabSize: 50 }),
        fc.nat(600),
        fc.integer({ min: 1, max: 9 }),
        (tree, base, room) => {
          const fitted = fitTree(tree, base, base + room)
          const wanted = [...depths(tree).entries()].filter(([, depth]) => depth < room).map(([node]) => node)
          assert.deepEqual([...fitted.kept], wanted)
          checkTree(fitted, { maxNodes: 60, vocabSize: 50, root: tree.tokens[0]! })
        },
      ),
    )
  })

  it('refuses a root beyond the context', () =>
    assert.throws(
      () => fitTree(chain([1]), 12, 12),
      (error) => error instanceof ClusterError && error.code === 'invalid_argument',
    ))
})
