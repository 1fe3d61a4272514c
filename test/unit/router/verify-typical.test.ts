import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { ancestors, depths, type TokenTree } from '../../../lib/speculative/token-tree.js'
import { verify, verifyTypical } from '../../../services/router/verify.js'
import { anyTree } from '../speculative/draw-tree.js'

const never = (): boolean => false

describe('verifyTypical', () => {
  //        0:7
  //       /   \
  //     1:4   2:5
  //      |     |
  //     3:6   4:6
  //      |
  //     5:8
  const tree = { tokens: [7, 4, 5, 6, 6, 8], parents: [-1, 0, 0, 1, 2, 3] }
  const samples = [0, 1, 2, 3, 9, 5]

  it('follows the longest path of nodes that are taken, then adds the sample at its end', () => {
    const result = verifyTypical(tree, samples, [0, 1, 1, 0, 1, 1], never)
    assert.deepEqual(result, { acceptedNodes: [0, 2, 4], tokens: [5, 6, 9] })
  })

  it('follows the earlier node where two are as deep', () => {
    const result = verifyTypical(tree, samples, [0, 1, 1, 1, 1, 0], never)
    assert.deepEqual(result, { acceptedNodes: [0, 1, 3], tokens: [4, 6, 3] })
  })

  it('takes no node below one that is not taken', () => {
    const result = verifyTypical(tree, samples, [0, 0, 1, 1, 0, 1], never)
    assert.deepEqual(result, { acceptedNodes: [0, 2], tokens: [5, 2] })
  })

  it('emits the sample of the root where nothing is taken, whatever stands at the root', () => {
    for (const root of [0, 1]) {
      const result = verifyTypical(tree, samples, [root, 0, 0, 1, 1, 1], never)
      assert.deepEqual(result, { acceptedNodes: [0], tokens: [0] })
    }
  })

  it('stops at an end token inside the path', () => {
    const result = verifyTypical(tree, samples, [0, 1, 0, 1, 0, 1], (token) => token === 6)
    assert.deepEqual(result, { acceptedNodes: [0, 1], tokens: [4, 6] })
  })

  it('stops at a count of emitted tokens', () => {
    const result = verifyTypical(tree, samples, [0, 1, 1, 1, 1, 1], (_token, numEmitted) => numEmitted === 1)
    assert.deepEqual(result, { acceptedNodes: [0], tokens: [4] })
  })

  it('does not count what lies behind an end token', () => {
    const result = verifyTypical(tree, samples, [0, 1, 1, 1, 1, 1], (token) => token === 4)
    assert.deepEqual(result, { acceptedNodes: [0, 2, 4], tokens: [5, 6, 9] })
  })

  it('is verify on a tree of one node', () => {
    const root = { tokens: [7], parents: [-1] }
    assert.deepEqual(verifyTypical(root, [3], [0], never), verify(root, [3], never))
  })

  for (const [name, sampled, takes] of [
    ['samples', [4, 6], [0, 0, 0, 0, 0, 0]],
    ['takes', samples, [0]],
  ] as const) {
    it(`refuses ${name} that are not one per node`, () =>
      assert.throws(
        () => verifyTypical(tree, sampled, takes, never),
        (error) => error instanceof ClusterError && error.code === 'internal' && error.message.includes(name),
      ))
  }

  describe('over any tree', () => {
    const perNode = <T>({ tokens }: TokenTree, value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
      fc.array(value, { minLength: tokens.length, maxLength: tokens.length })
    const drawing = anyTree({ maxNodes: 20, vocabSize: 4 }).chain((drawn) =>
      fc.record({
        drawn: fc.constant(drawn),
        sampled: perNode(drawn, fc.nat(3)),
        takes: perNode(drawn, fc.constantFrom(0, 1, 1)),
      }),
    )

    it('emits one token per accepted node, those of a path of taken nodes, and ends with the first end token', () => {
      fc.assert(
        fc.property(drawing, fc.nat(4), ({ drawn, sampled, takes }, end) => {
          const { acceptedNodes, tokens } = verifyTypical(drawn, sampled, takes, (token) => token === end)
          const last = acceptedNodes[acceptedNodes.length - 1]!
          assert.deepEqual(acceptedNodes, ancestors(drawn, last))
          assert.ok(acceptedNodes.slice(1).every((node) => takes[node] === 1))
          const drafted = acceptedNodes.slice(1).map((node) => drawn.tokens[node])
          assert.deepEqual(tokens.slice(0, -1), drafted)
          assert.ok(!drafted.includes(end))
          const isTakenEnd = tokens.at(-1) === end
          assert.ok(isTakenEnd || tokens.at(-1) === sampled[last])
        }),
      )
    })

    it('follows no shorter path than another', () => {
      fc.assert(
        fc.property(drawing, ({ drawn, sampled, takes }) => {
          const reachable = Array.from(drawn.tokens, (_, node) =>
            ancestors(drawn, node).every((at) => at === 0 || takes[at] === 1),
          )
          const want = Math.max(...Array.from(depths(drawn)).filter((_, node) => reachable[node]))
          assert.equal(verifyTypical(drawn, sampled, takes, never).acceptedNodes.length, want + 1)
        }),
      )
    })

    it('is verify where the taken nodes are those that were sampled', () => {
      fc.assert(
        fc.property(drawing, fc.nat(4), ({ drawn, sampled }, end) => {
          const takes = Array.from(drawn.tokens, (token, node) => +(token === sampled[drawn.parents[node]!]))
          const isEnd = (token: number): boolean => token === end
          assert.deepEqual(verifyTypical(drawn, sampled, takes, isEnd), verify(drawn, sampled, isEnd))
        }),
      )
    })
  })
})
