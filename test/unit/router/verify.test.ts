import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { ancestors } from '../../../lib/speculative/token-tree.js'
import { verify } from '../../../services/router/verify.js'
import { anyTree } from '../speculative/draw-tree.js'

const never = (): boolean => false

describe('verify', () => {
  //        0:7
  //       /   \
  //     1:4   2:5
  //      |     |
  //     3:6   4:6
  const tree = { tokens: [7, 4, 5, 6, 6], parents: [-1, 0, 0, 1, 2] }

  it('accepts the branch that the target sampled, then adds the bonus token', () => {
    assert.deepEqual(verify(tree, [4, 6, 0, 9, 0], never), { acceptedNodes: [0, 1, 3], tokens: [4, 6, 9] })
  })

  it('takes a later sibling as well as the first', () => {
    assert.deepEqual(verify(tree, [5, 0, 6, 0, 2], never), { acceptedNodes: [0, 2, 4], tokens: [5, 6, 2] })
  })

  it('emits the bonus token alone where no child was sampled', () => {
    assert.deepEqual(verify(tree, [3, 6, 6, 9, 9], never), { acceptedNodes: [0], tokens: [3] })
  })

  it('stays on its path where another branch carries the sampled token', () => {
    // 5 is sampled after 4, and is a child of the root only.
    assert.deepEqual(verify(tree, [4, 5, 6, 9, 9], never), { acceptedNodes: [0, 1], tokens: [4, 5] })
  })

  it('emits the bonus token of a tree of one node', () => {
    assert.deepEqual(verify({ tokens: [7], parents: [-1] }, [0], never), { acceptedNodes: [0], tokens: [0] })
  })

  it('stops at an end token inside the tree', () => {
    const result = verify(tree, [4, 6, 0, 9, 0], (token) => token === 4)
    assert.deepEqual(result, { acceptedNodes: [0], tokens: [4] })
  })

  it('stops at a count of emitted tokens', () => {
    const result = verify(tree, [4, 6, 0, 9, 0], (_token, numEmitted) => numEmitted === 2)
    assert.deepEqual(result, { acceptedNodes: [0, 1], tokens: [4, 6] })
  })

  it('refuses samples that are not one per node', () => {
    assert.throws(
      () => verify(tree, [4, 6], never),
      (error) => error instanceof ClusterError && error.code === 'internal',
    )
  })

  it('emits the tokens of one path and, unless ended, one that is no child of its last node', () => {
    const drawing = anyTree({ maxNodes: 20, vocabSize: 3 }).chain((drawn) =>
      fc.tuple(
        fc.constant(drawn),
        fc.array(fc.nat(3), { minLength: drawn.tokens.length, maxLength: drawn.tokens.length }),
      ),
    )
    fc.assert(
      fc.property(drawing, ([drawn, samples]) => {
        const { acceptedNodes, tokens } = verify(drawn, samples, never)
        const last = acceptedNodes[acceptedNodes.length - 1]!
        assert.deepEqual(acceptedNodes, ancestors(drawn, last))
        assert.deepEqual(
          tokens,
          acceptedNodes.map((node) => samples[node]),
        )
        const children = Array.from(drawn.tokens).filter((_, node) => drawn.parents[node] === last)
        assert.ok(!children.includes(tokens[tokens.length - 1]!))
      }),
    )
  })
})
