import assert from 'node:assert/strict'
import fc from 'fast-check'
import { checkTree } from '../../../lib/speculative/token-tree.js'
import { CandidateTree } from '../../../services/drafter/candidate-tree.js'
import { bestNodes } from '../../../services/drafter/drafting.js'
import { anyTree } from '../speculative/draw-tree.js'

const VOCAB = 4
const MAX_NODES = 10
const asSaid = {
  ofSource: (_source: number, _depth: number, probability: number) => probability,
  ofSources: (_sources: number, probability: number) => probability,
}

/** Trees that a source may propose, with ties, certain nodes and impossible ones. */
const anyCandidates: fc.Arbitrary<CandidateTree> = fc
  .tuple(
    anyTree({ maxNodes: MAX_NODES, vocabSize: VOCAB }),
    fc.array(fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.5, 1)), {
      minLength: MAX_NODES,
      maxLength: MAX_NODES,
    }),
  )
  .map(([{ tokens, parents }, probabilities]) => {
    const tree = new CandidateTree(tokens[0]!, asSaid, MAX_NODES)
    for (let node = 1; node < tokens.length; node++) tree.add(parents[node]!, tokens[node]!, 0, probabilities[node]!)
    return tree
  })

const sumOf = (values: Iterable<number>): number => Array.from(values).reduce((sum, value) => sum + value, 0)

/** The largest sum of values of any tree of `count` nodes at most: all sets of nodes are tried. */
function bestByTrying(tree: CandidateTree, count: number): number {
  const values = tree.values()
  let most = 0
  for (let set = 1; set < 2 ** tree.size; set += 2) {
    const nodes = [...values.keys()].filter((node) => (set >> node) & 1)
    const isTree = nodes.every((node) => node === 0 || (set >> tree.parents[node]!) & 1)
    if (isTree && nodes.length <= count) most = Math.max(most, sumOf(nodes.map((node) => values[node]!)))
  }
  return most
}

describe('bestNodes', () => {
  it('is worth as much as the best of all trees of so many nodes', () => {
    fc.assert(
      fc.property(anyCandidates, fc.integer({ min: 1, max: MAX_NODES }), (tree, maxNodes) => {
        const [got, want] = [sumOf(bestNodes(tree, { maxNodes, price: 0 }).values), bestByTrying(tree, maxNodes)]
        assert.ok(Math.abs(got - want) < 1e-5, `${got} of ${want}`) // the draft's values are float32
      }),
    )
  })

  it('is a tree of the candidates, as large as there is room', () => {
    fc.assert(
      fc.property(anyCandidates, fc.integer({ min: 1, max: MAX_NODES }), (tree, maxNodes) => {
        const draft = bestNodes(tree, { maxNodes, price: 0 })
        checkTree(draft, { maxNodes, vocabSize: VOCAB, root: tree.tokens[0]! })
        assert.equal(draft.tokens.length, Math.min(maxNodes, tree.size))
        const places = [0]
        for (let node = 1; node < draft.tokens.length; node++) {
          const place = tree.child(places[draft.parents[node]!]!, draft.tokens[node]!)
          assert.ok(place !== undefined)
          places.push(place)
        }
        const values = tree.values()
        assert.deepEqual(
          [...draft.values],
          places.map((place) => Math.fround(values[place]!)),
        )
      }),
    )
  })

  it('leaves out what is far from being worth its price, never the root', () => {
    fc.assert(
      fc.property(anyCandidates, fc.double({ min: 0, max: 1.9, noNaN: true }), (tree, price) => {
        const { tokens } = bestNodes(tree, { maxNodes: MAX_NODES, price })
        const worth = [...tree.values()].filter((value, node) => node === 0 || value >= price / 2)
        assert.equal(tokens.length, Math.min(MAX_NODES, worth.length))
      }),
    )
  })
})
