// A row's bits do not depend on the rows, slots or branches beside it, over shapes that no probe runs.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createAttentionProbe } from '../../../lib/compute/attention-probe.js'
import { PAGE_SLOTS } from '../../../lib/compute/kv-layout.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import type { ProbedAttention } from '../../../lib/compute/probe-layer.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { fitTree } from '../../../lib/speculative/token-tree.js'
import type { TokenTree } from '../../../lib/speculative/token-tree.js'
import { LAYOUTS, product } from './product.js'

const FORMATS = ['f32', 'int8', 'int4', ...LAYOUTS] as const

describe('linear, row by row', () => {
  const shape = fc.record({
    format: fc.constantFrom(...FORMATS),
    inputs: fc.constantFrom(24, 64, 96, 160),
    outputs: fc.integer({ min: 1, max: 70 }),
    threads: fc.constantFrom(1, 2),
    rows: fc.integer({ min: 1, max: 300 }),
    first: fc.nat(20),
    pieces: fc.integer({ min: 1, max: 9 }),
  } as const)

  it('a batch of any size gives a row the same bits', () => {
    fc.assert(
      fc.property(shape, ({ threads, rows, first, ...layer }) => {
        const { inputs, outputs } = layer
        const kernels = sharedKernels(threads)
        const data = probeValues((first + rows + 5) * inputs, 7, 4)
        const all = product(sharedKernels(1), { ...layer, pieces: 1 }, data)
        const some = product(kernels, layer, data.subarray(first * inputs, (first + rows) * inputs))
        assert.deepEqual(some, all.subarray(first * outputs, (first + rows) * outputs))
      }),
      { numRuns: 100 },
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
    fc.integer({ min: PAGE_SLOTS - 9, max: PAGE_SLOTS + 1 }),
    fc.integer({ min: 3 * PAGE_SLOTS - 4, max: 3 * PAGE_SLOTS + 4 }),
  )
  const attentions: readonly ProbedAttention[] = [
    { numHeads: 2, numKvHeads: 2, headDim: 16 },
    { numHeads: 4, numKvHeads: 2, headDim: 8 },
    { numHeads: 3, numKvHeads: 1, headDim: 22, rotatedDim: 6 },
    { numHeads: 6, numKvHeads: 3, headDim: 12, window: 7, hasSinks: true },
    { numHeads: 5, numKvHeads: 1, headDim: 8, window: 150, hasSinks: true },
    { numHeads: 4, numKvHeads: 2, headDim: 16, kv: 'f16' },
    { numHeads: 3, latentDim: 18, plainDim: 10, rotatedDim: 4, valueDim: 12, kv: 'f16' },
    { numHeads: 5, latentDim: 32, plainDim: 32, rotatedDim: 6, valueDim: 20, queryRank: 24 },
    { numHeads: 3, latentDim: 18, plainDim: 10, rotatedDim: 4, valueDim: 12, window: 140, hasSinks: true },
  ]

  for (const attention of attentions) {
    it(`${JSON.stringify(attention)}: a node has the bits of plain decoding (A1)`, () => {
      const probe = createAttentionProbe(sharedKernels(2), attention)
      fc.assert(
        fc.property(tree, base, (drawn, committed) => {
          const fitted = fitTree(drawn, committed, 590)
          const all = probe.attendTree(committed, fitted)
          all.forEach((row, node) => assert.deepEqual(probe.attendPath(committed, fitted, node), row))
        }),
        { numRuns: 12 },
      )
      probe.dispose()
    })
  }
})
