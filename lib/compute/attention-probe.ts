// Checks that attention gives a tree node the bits of plain decoding of its path.

import type { Hash } from 'node:crypto'
import { EXACT_BLOCK, tailSlots } from '../speculative/tail-layout.js'
import { depths } from '../speculative/token-tree.js'
import { createAttentionCore, type AttentionCore, type HeadGeometry } from './attention-core.js'
import type { KernelReport } from './device-class.js'
import { maskOf, pagesOf } from './probe-pages.js'
import { probeValues, sameBits } from './probe-values.js'

// A chain of five, then branches: siblings lie between the nodes of every path, and from the bases just below a block
// boundary the chain fills the block and the branches start in the next.
const TREE_PARENTS = [-1, 0, 1, 2, 3, 4, 4, 5, 5, 6, 7, 7, 8]
const PROBE_BASES = [1, 40, EXACT_BLOCK - 5, 2 * EXACT_BLOCK - 5, 3 * EXACT_BLOCK]

/** Every node of a tree against plain decoding of its path, around block boundaries and in short contexts. */
export function probeAttention(geometry: HeadGeometry, hash?: Hash): KernelReport {
  const core = createAttentionCore(geometry)
  let isExact = true
  for (const base of PROBE_BASES) {
    const probe = createAttentionProbe(core, geometry, base)
    const { tree, paths } = probe()
    hash?.update(new Uint8Array(tree.buffer, tree.byteOffset, tree.byteLength))
    isExact &&= sameBits(tree, paths)
  }
  core.dispose()
  const { numHeads, numKvHeads, headDim } = geometry
  return {
    kernel: `tree attention, ${numHeads} heads on ${numKvHeads} of width ${headDim}`,
    exactness: isExact ? 'exact' : 'inexact',
  }
}

/** A node's key and value, [kvHeads, headDim] each, are the same wherever they are stored. */
function createAttentionProbe(core: AttentionCore, geometry: HeadGeometry, base: number) {
  const { numHeads, numKvHeads, headDim } = geometry
  const nodeDepths = depths({ tokens: TREE_PARENTS.map((_, i) => i), parents: TREE_PARENTS })
  const slots = tailSlots(base, nodeDepths)
  const numSlots = Math.max(...slots) + 1
  const rows = {
    keys: probeValues(numSlots * numKvHeads * headDim, 31, 2),
    values: probeValues(numSlots * numKvHeads * headDim, 57, 2),
  }
  const width = numHeads * headDim
  const q = probeValues(TREE_PARENTS.length * width, 91, 4)
  const pathOf = (node: number): number[] => (node < 0 ? [] : [...pathOf(TREE_PARENTS[node] ?? -1), node])

  const upTo = (length: number): number[] => Array.from({ length }, (_, i) => i)

  return (): { tree: Float32Array; paths: Float32Array } => {
    const pages = pagesOf(geometry, rows, upTo(numSlots))
    const seen = TREE_PARENTS.map((_, node) => [...upTo(base), ...pathOf(node).map((step) => slots[step] ?? 0)])
    const tree = core.attend([{ rows: TREE_PARENTS.length, q, mask: maskOf(pages.length, seen), pages }])
    const alone = TREE_PARENTS.map((_, node) => {
      const plain = pagesOf(geometry, rows, seen[node] ?? [])
      const mask = maskOf(plain.length, [upTo(seen[node]?.length ?? 0)])
      return { rows: 1, q: q.subarray(node * width, (node + 1) * width), mask, pages: plain }
    })
    const paths = new Float32Array(tree.length)
    alone.forEach((call, node) => paths.set(core.attend([call]), node * width))
    if (!sameBits(core.attend(alone), paths)) paths.fill(NaN) // a batch of sequences must give each its own bits
    return { tree, paths }
  }
}
