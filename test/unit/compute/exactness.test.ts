// C1 and K1: a row's bits do not depend on the rows, slots or branches beside it, over shapes that no probe runs.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createAttentionCore, type AttentionCore, type HeadGeometry } from '../../../lib/compute/attention-core.js'
import { GraphBuilder } from '../../../lib/compute/graph.js'
import { linear } from '../../../lib/compute/linear.js'
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

  it('a batch of any size gives a row the same bits', async () => {
    await fc.assert(
      fc.asyncProperty(shape, async ({ format, inputs, outputs, threads, rows, first }) => {
        const graph = new GraphBuilder()
        const x = graph.input('x', ['rows', inputs])
        const weights = probeValues(inputs * outputs, 3)
        graph.output(linear(graph, x, { weights, inputs, outputs }, format), 'y', ['rows', outputs])
        const session = withMinRows(await createSession(graph.build('test'), threads), 2)
        const data = probeValues((first + rows + 5) * inputs, 7, 4)
        const run = async (from: number, count: number): Promise<Float32Array> => {
          const part = data.subarray(from * inputs, (from + count) * inputs)
          return (await session.run({ x: { data: part, dims: [count, inputs] } })).y ?? assert.fail()
        }
        const all = await run(0, first + rows + 5)
        assert.deepEqual(await run(first, rows), all.subarray(first * outputs, (first + rows) * outputs))
        await session.dispose()
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
    it(`${numHeads} heads on ${numKvHeads}: a node has the bits of plain decoding (K1, K3)`, async () => {
      const core = await createAttentionCore(geometry)
      await fc.assert(
        fc.asyncProperty(tree, base, async (drawn, committed) => {
          const fitted = fitTree(drawn, committed, 10_000)
          const cache = drawCache(geometry, committed, fitted)
          const all = await cache.attendTree(core)
          for (let node = 0; node < fitted.tokens.length; node++) {
            const width = numHeads * headDim
            assert.deepEqual(await cache.attendPath(core, node), all.subarray(node * width, (node + 1) * width))
          }
        }),
        { numRuns: 25 },
      )
      await core.dispose()
    })
  }
})

/** Random keys and values of `committed` tokens and a tree's rows, laid out as a tail or gathered along one path. */
function drawCache({ numHeads, numKvHeads, headDim }: HeadGeometry, committed: number, tree: TokenTree) {
  const numNodes = tree.tokens.length
  const slots = tailSlots(committed, depths(tree))
  const numSlots = Math.max(...slots) + 1
  const width = numHeads * headDim
  const q = probeValues(numNodes * width, 91, 4)
  const draw = (columns: number, seed: number): Float32Array[] =>
    Array.from({ length: numKvHeads }, (_, head) => probeValues(numSlots * columns, seed + head, 2))
  const keys = draw(headDim, 31)
  const values = draw(headDim + 1, 57)
  for (const value of values) for (let slot = 0; slot < numSlots; slot++) value[slot * (headDim + 1) + headDim] = 1
  const pathSlots = (node: number): number[] => ancestors(tree, node).map((step) => slots[step] ?? assert.fail())

  return {
    attendTree: (core: AttentionCore): Promise<Float32Array> => {
      const mask = new Float32Array(numNodes * numSlots).fill(-Infinity)
      for (let node = 0; node < numNodes; node++) {
        mask.fill(0, node * numSlots, node * numSlots + committed)
        for (const slot of pathSlots(node)) mask[node * numSlots + slot] = 0
      }
      return core.attend({ rows: numNodes, slots: numSlots, q, mask, keys, values })
    },
    attendPath: (core: AttentionCore, node: number): Promise<Float32Array> => {
      const order = [...Array.from({ length: committed }, (_, slot) => slot), ...pathSlots(node)]
      const gather = (source: Float32Array, columns: number): Float32Array =>
        Float32Array.from(order.flatMap((slot) => [...source.subarray(slot * columns, (slot + 1) * columns)]))
      return core.attend({
        rows: 1,
        slots: order.length,
        q: q.subarray(node * width, (node + 1) * width),
        mask: new Float32Array(order.length),
        keys: keys.map((key) => gather(key, headDim)),
        values: values.map((value) => gather(value, headDim + 1)),
      })
    },
  }
}
