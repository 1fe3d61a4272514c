// Decides what tree comes of the proposals of several sources, and what is left of it below a node.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { CandidateTree, type Calibrator } from '../../../services/drafter/candidate-tree.js'
import { AS_IS } from './drafting.js'

const CAPACITY = 40
const AHEAD = 5

const newTree = (capacity = CAPACITY): CandidateTree => new CandidateTree(100, AS_IS, capacity)

interface Proposal {
  readonly parent: number // modulo the size of the tree
  readonly token: number
  readonly source: number
  readonly probability: number
}

const anyProposals: fc.Arbitrary<readonly Proposal[]> = fc.array(
  fc.record({
    parent: fc.nat(),
    token: fc.nat({ max: 3 }),
    source: fc.nat({ max: 3 }),
    probability: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.5, 1)),
  }),
  { maxLength: 60 },
)

function treeOf(proposals: readonly Proposal[], capacity = CAPACITY): CandidateTree {
  const tree = newTree(capacity)
  for (const { parent, token, source, probability } of proposals) {
    tree.add(parent % tree.size, token, source, probability)
  }
  return tree
}

const nodesOf = (tree: CandidateTree): number[] => Array.from({ length: tree.size }, (_, node) => node)

const isBelow = (tree: CandidateTree, node: number, above: number): boolean =>
  node === above || (node > 0 && isBelow(tree, tree.parents[node]!, above))

describe('CandidateTree', () => {
  it('makes one node of a token that several sources propose after the same path', () => {
    const tree = newTree()
    const nodes = [tree.add(0, 7, 0, 0.3), tree.add(0, 7, 2, 0.6), tree.add(0, 7, 1, 0.4)]
    assert.deepEqual(nodes, [1, 1, 1])
    assert.deepEqual([tree.size, tree.sources[1], tree.estimates[1]], [2, 0b111, 0.6])
  })

  it('keeps what each source said of a node', () => {
    const tree = newTree()
    tree.add(0, 7, 0, 0.3)
    tree.add(0, 7, 2, 0.6)
    assert.deepEqual(
      [0, 1, 2].map((source) => tree.rawOf(1, source)),
      [0.3, undefined, 0.6],
    )
  })

  it('takes the best of the calibrated estimates, not of the raw ones', () => {
    const calibrator: Calibrator = { ...AS_IS, ofSource: (source, _, probability) => probability / (source + 1) }
    const tree = new CandidateTree(100, calibrator, CAPACITY)
    tree.add(0, 7, 1, 0.8)
    tree.add(0, 7, 0, 0.5)
    assert.equal(tree.estimates[1], 0.5)
  })

  it('C1 has distinct children, each after its parent', () => {
    fc.assert(
      fc.property(anyProposals, (proposals) => {
        const tree = treeOf(proposals)
        for (const node of nodesOf(tree)) {
          const tokens = Array.from(tree.childrenOf(node), (child) => tree.tokens[child])
          assert.equal(new Set(tokens).size, tokens.length)
          for (const child of tree.childrenOf(node)) assert.ok(child > node && tree.parents[child] === node)
        }
      }),
    )
  })

  it('finds a node by the path to it', () => {
    fc.assert(
      fc.property(anyProposals, (proposals) => {
        const tree = treeOf(proposals)
        for (const node of nodesOf(tree)) {
          const path = tree.path(node)
          assert.equal(path.length, tree.depths[node])
          assert.equal(
            path.reduce((at, token) => tree.child(at, token)!, 0),
            node,
          )
        }
      }),
    )
  })

  it('C2 has values that never rise along a path', () => {
    fc.assert(
      fc.property(anyProposals, (proposals) => {
        const tree = treeOf(proposals)
        const values = tree.values()
        assert.equal(values[0], 1)
        for (const node of nodesOf(tree).slice(1)) assert.ok(values[node]! <= values[tree.parents[node]!]!)
      }),
    )
  })

  it('gives siblings values that add up to that of their parent at most, in the order of their estimates', () => {
    fc.assert(
      fc.property(anyProposals, (proposals) => {
        const tree = treeOf(proposals)
        const values = tree.values()
        for (const node of nodesOf(tree)) {
          const children = [...tree.childrenOf(node)].sort((a, b) => tree.estimates[a]! - tree.estimates[b]!)
          assert.ok(children.reduce((sum, child) => sum + values[child]!, 0) <= values[node]! + 1e-9)
          children.slice(1).forEach((child, i) => assert.ok(values[child]! >= values[children[i]!]!))
        }
      }),
    )
  })

  it('takes estimates of siblings as they are where they add up to less than 1', () => {
    const tree = newTree()
    tree.add(0, 7, 0, 0.5)
    tree.add(0, 8, 0, 0.25)
    assert.deepEqual([...tree.values()], [1, 0.5, 0.25])
  })

  it('says what share of what follows a node its children hold', () => {
    fc.assert(
      fc.property(anyProposals, (proposals) => {
        const tree = treeOf(proposals)
        const covered = tree.covered()
        for (const node of nodesOf(tree)) {
          const sum = Array.from(tree.childrenOf(node)).reduce((all, child) => all + tree.estimates[child]!, 0)
          assert.ok(Math.abs(covered[node]! - Math.min(1, sum)) < 1e-9)
        }
      }),
    )
  })

  it('has values of the tree as it is, also after it grew', () => {
    const tree = newTree()
    tree.add(0, 7, 0, 0.5)
    tree.values()
    tree.add(1, 8, 0, 0.5)
    tree.add(0, 7, 1, 0.8)
    assert.deepEqual([...tree.values()], [1, 0.8, 0.4])
  })

  it('never has more nodes than its capacity, and still merges when it is full', () => {
    fc.assert(
      fc.property(anyProposals, fc.integer({ min: 1, max: 8 }), (proposals, capacity) => {
        const tree = treeOf(proposals, capacity)
        assert.ok(tree.size <= capacity)
        assert.equal(tree.isFull, tree.size === capacity)
        if (!tree.isFull) return
        assert.equal(tree.add(0, 99, 0, 0.5), undefined)
        for (const node of nodesOf(tree).slice(1)) {
          assert.equal(tree.add(tree.parents[node]!, tree.tokens[node]!, 0, 1), node)
        }
      }),
    )
  })
})

describe('CandidateTree.below', () => {
  const anyPlace = fc.tuple(anyProposals, fc.nat()).map(([proposals, place]) => {
    const tree = treeOf(proposals)
    return { tree, node: place % tree.size }
  })

  it('is the subtree, its node the root', () => {
    fc.assert(
      fc.property(anyPlace, ({ tree, node }) => {
        const below = tree.below(node, AHEAD)
        const skipped = tree.depths[node]!
        const wanted = nodesOf(tree).filter((other) => isBelow(tree, other, node))
        assert.equal(below.tokens[0], tree.tokens[node])
        assert.deepEqual(
          nodesOf(below).map((at) => below.path(at)),
          wanted.map((at) => tree.path(at).slice(skipped)),
        )
      }),
    )
  })

  it('has the values that the tree gives what follows the node', () => {
    fc.assert(
      fc.property(anyPlace, ({ tree, node }) => {
        const [values, wanted] = [tree.below(node, AHEAD).values(), tree.values()]
        const nodes = nodesOf(tree).filter((other) => isBelow(tree, other, node))
        nodes.forEach((at, i) => assert.ok(Math.abs(values[i]! * wanted[node]! - wanted[at]!) < 1e-9))
      }),
    )
  })

  it('names the source it is taken over by beside those that proposed a node', () => {
    const tree = newTree()
    const child = tree.add(tree.add(0, 7, 0, 0.5)!, 8, 2, 0.5)!
    const below = tree.below(tree.parents[child]!, AHEAD)
    assert.equal(below.sources[1], (1 << AHEAD) | (1 << 2))
  })

  it('holds only what the new source says of its nodes: the depths of the others were different', () => {
    const tree = newTree()
    const child = tree.add(tree.add(0, 7, 0, 0.5)!, 8, 2, 0.25)!
    const below = tree.below(tree.parents[child]!, AHEAD)
    assert.deepEqual([below.rawOf(1, 2), below.rawOf(1, AHEAD)], [undefined, 0.25])
  })
})
