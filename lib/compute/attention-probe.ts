// Checks that attention gives a tree node the bits of plain decoding of its path.

import type { Hash } from 'node:crypto'
import { EXACT_BLOCK, tailSlots } from '../speculative/tail-layout.js'
import { depths } from '../speculative/token-tree.js'
import { createAttentionCore, type AttentionCore, type HeadGeometry } from './attention-core.js'
import type { KernelReport } from './device-class.js'
import { probeValues, sameBits } from './probe-values.js'

// A chain of five, then branches: siblings lie between the nodes of every path, and from the bases just below a block
// boundary the chain fills the block and the branches start in the next.
const TREE_PARENTS = [-1, 0, 1, 2, 3, 4, 4, 5, 5, 6, 7, 7, 8]
const PROBE_BASES = [1, 40, EXACT_BLOCK - 5, 2 * EXACT_BLOCK - 5, 3 * EXACT_BLOCK]

/** Every node of a tree against plain decoding of its path, around block boundaries and in short contexts. */
export async function probeAttention(geometry: HeadGeometry, hash?: Hash): Promise<KernelReport> {
  const core = await createAttentionCore(geometry)
  let isExact = true
  for (const base of PROBE_BASES) {
    const probe = createAttentionProbe(core, geometry, base)
    const { tree, paths } = await probe()
    hash?.update(new Uint8Array(tree.buffer, tree.byteOffset, tree.byteLength))
    isExact &&= sameBits(tree, paths)
  }
  await core.dispose()
  const { numHeads, numKvHeads, headDim } = geometry
  return {
    kernel: `tree attention, ${numHeads} heads on ${numKvHeads} of width ${headDim}`,
    exactness: isExact ? 'exact' : 'inexact',
  }
}

function createAttentionProbe(core: AttentionCore, geometry: HeadGeometry, base: number) {
  const { numHeads, numKvHeads, headDim } = geometry
  const nodeDepths = depths({ tokens: TREE_PARENTS.map((_, i) => i), parents: TREE_PARENTS })
  const slots = tailSlots(base, nodeDepths)
  const numSlots = Math.max(...slots) + 1
  const perHead = (width: number, seed: number): Float32Array[] =>
    Array.from({ length: numKvHeads }, (_, head) => probeValues(numSlots * width, seed + head, 2))
  const keys = perHead(headDim, 31)
  const values = perHead(headDim + 1, 57)
  for (const value of values) for (let slot = 0; slot < numSlots; slot++) value[slot * (headDim + 1) + headDim] = 1
  const width = numHeads * headDim
  const q = probeValues(TREE_PARENTS.length * width, 91, 4)
  const pathOf = (node: number): number[] => (node < 0 ? [] : [...pathOf(TREE_PARENTS[node] ?? -1), node])

  return async (): Promise<{ tree: Float32Array; paths: Float32Array }> => {
    const mask = new Float32Array(TREE_PARENTS.length * numSlots).fill(-Infinity)
    TREE_PARENTS.forEach((_, node) => {
      mask.fill(0, node * numSlots, node * numSlots + base)
      for (const ancestor of pathOf(node)) mask[node * numSlots + (slots[ancestor] ?? 0)] = 0
    })
    const tree = await core.attend({ rows: TREE_PARENTS.length, slots: numSlots, q, mask, keys, values })
    const paths = new Float32Array(tree.length)
    for (let node = 0; node < TREE_PARENTS.length; node++) {
      const path = pathOf(node)
      const length = base + path.length
      const gather = (source: Float32Array, w: number): Float32Array => {
        const plain = new Float32Array(length * w)
        plain.set(source.subarray(0, base * w))
        path.forEach((step, i) => {
          const slot = slots[step] ?? 0
          plain.set(source.subarray(slot * w, (slot + 1) * w), (base + i) * w)
        })
        return plain
      }
      const alone = await core.attend({
        rows: 1,
        slots: length,
        q: q.subarray(node * width, (node + 1) * width),
        mask: new Float32Array(length),
        keys: keys.map((key) => gather(key, headDim)),
        values: values.map((value) => gather(value, headDim + 1)),
      })
      paths.set(alone, node * width)
    }
    return { tree, paths }
  }
}
