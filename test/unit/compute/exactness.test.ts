// C1 and K1: a row's bits do not depend on the rows, slots or branches beside it, over shapes that no probe runs.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  createAttentionCore,
  type AttentionCall,
  type AttentionCore,
  type HeadGeometry,
} from '../../../lib/compute/attention-core.js'
import { GraphBuilder } from '../../../lib/compute/graph.js'
import { linear, packLinear } from '../../../lib/compute/linear.js'
import { maskOf, pagesOf } from '../../../lib/compute/probe-pages.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { createSession } from '../../../lib/compute/session.js'
import { withMinRows } from '../../../lib/compute/two-rows.js'
import { EXACT_BLOCK, fitTree, tailSlots } from '../../../lib/speculative/tail-layout.js'
import { ancestors, depths, type TokenTree } from '../../../lib/speculative/token-tree.js'

describe('linear, row by row', () => {
  const shape = fc.record({
    format: fc.constantFrom('f32', 'int8', 'int4'),
    inputs: fc.constantFrom(24, 64, 96, 160),
    outputs: fc.integer({ min: 1, max: 70 }),
    threads: fc.constantFrom(1, 2),
    rows: fc.integer({ min: 1, max: 300 }),
    first: fc.nat(20),
  } as const)

  it('a batch of any size gives a row the same bits', () => {
    fc.assert(
      fc.property(shape, ({ format, inputs, outputs, threads, rows, first }) => {
        const graph = new GraphBuilder()
        const x = graph.input('x', ['rows', inputs])
        const weights = probeValues(inputs * outputs, 3)
        const packed = packLinear('w', { weights, inputs, outputs }, format)
        graph.output(linear(graph, x, packed, 'w'), 'y', ['rows', outputs])
        const session = withMinRows(createSession(graph.build('test'), threads), 2)
        const data = probeValues((first + rows + 5) * inputs, 7, 4)
        const run = (from: number, count: number): Float32Array => {
          const part = data.subarray(from * inputs, (from + count) * inputs)
          return session.run({ x: { data: part, dims: [count, inputs] } }).y ?? assert.fail()
        }
        const all = run(0, first + rows + 5)
        assert.deepEqual(run(first, rows), all.subarray(first * outputs, (first + rows) * outputs))
        session.dispose()
      }),
      { numRuns: 60 },
    )
  })
})

describe('tree attention', () => {
  /** Cuts a random list of parents into a tree that the tail has room for. */
  const tree = fc.array(fc.nat(1000), { minLength: 1, maxLength: 24 }).map((draws): TokenTree => ({
    tokens: draws.map((_, i) => i),
    parents: draws.map((draw, i) => (i === 0 ? -1 : draw % i)),
  }))
  const base = fc.oneof(
    fc.integer({ min: 0, max: 3 }),
    fc.integer({ min: EXACT_BLOCK - 9, max: EXACT_BLOCK + 1 }),
    fc.integer({ min: 3 * EXACT_BLOCK - 4, max: 3 * EXACT_BLOCK + 4 }),
  )
  const geometries: readonly HeadGeometry[] = [
    { numHeads: 2, numKvHeads: 2, headDim: 16 },
    { numHeads: 4, numKvHeads: 2, headDim: 8 },
    { numHeads: 3, numKvHeads: 1, headDim: 24 },
  ]

  for (const geometry of geometries) {
    const { numHeads, numKvHeads, headDim } = geometry
    it(`${numHeads} heads on ${numKvHeads}: a node has the bits of plain decoding (K1, K3)`, () => {
      const core = createAttentionCore(geometry)
      fc.assert(
        fc.property(tree, base, (drawn, committed) => {
          const fitted = fitTree(drawn, committed, 10_000)
          const cache = drawCache(geometry, committed, fitted)
          const all = cache.attendTree(core)
          const alone = Array.from(fitted.tokens, (_, node) => cache.pathCall(node))
          const width = numHeads * headDim
          alone.forEach((call, node) => {
            assert.deepEqual(core.attend([call]), all.subarray(node * width, (node + 1) * width))
          })
          assert.deepEqual(core.attend(alone), all) // decoded side by side
        }),
        { numRuns: 25 },
      )
      core.dispose()
    })
  }
})

/** Random keys and values of `committed` tokens and a tree's rows, laid out as a tail or gathered along one path. */
function drawCache(geometry: HeadGeometry, committed: number, tree: TokenTree) {
  const { numHeads, numKvHeads, headDim } = geometry
  const numNodes = tree.tokens.length
  const slots = tailSlots(committed, depths(tree))
  const numSlots = Math.max(...slots) + 1
  const width = numHeads * headDim
  const q = probeValues(numNodes * width, 91, 4)
  const rows = {
    keys: probeValues(numSlots * numKvHeads * headDim, 31, 2),
    values: probeValues(numSlots * numKvHeads * headDim, 57, 2),
  }
  const upTo = (length: number): number[] => Array.from({ length }, (_, slot) => slot)
  const seen = (node: number): number[] => [
    ...upTo(committed),
    ...ancestors(tree, node).map((step) => slots[step] ?? assert.fail()),
  ]
  return {
    attendTree: (core: AttentionCore): Float32Array => {
      const pages = pagesOf(geometry, rows, upTo(numSlots))
      const mask = maskOf(pages.length, upTo(numNodes).map(seen))
      return core.attend([{ rows: numNodes, q, mask, pages }])
    },
    pathCall: (node: number): AttentionCall => {
      const pages = pagesOf(geometry, rows, seen(node))
      const mask = maskOf(pages.length, [upTo(seen(node).length)])
      return { rows: 1, q: q.subarray(node * width, (node + 1) * width), mask, pages }
    },
  }
}
