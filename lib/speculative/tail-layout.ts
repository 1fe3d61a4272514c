// Which cache slot each node of a step takes.
//
// An engine may add the products of attention weights and values in blocks of 128 slots (ONNX Runtime does; the CPU
// kernels add slot by slot). A node then computes the same bits as plain decoding only where its slot, and its
// ancestors' slots, lie in the blocks of their positions: this layout holds for either.
//
// Invariants
//   L1  floor(slot / 128) = floor(position / 128) for every node; no two nodes share a slot.
//   L2  A chain (plain decoding, prefill) takes slot = position.
//   L3  Slots rise along every path and are never below the position, so commit may move accepted rows down in order.

import { ClusterError } from '../errors.js'
import { depths, pruneTree, type PrunedTree, type TokenTree } from './token-tree.js'

/** Slots that an engine adds up at once. */
export const EXACT_BLOCK = 128

/** Hands out the slots of a tail that starts after `base` committed tokens, block by block. */
class SlotCursor {
  private readonly base: number
  private readonly used = new Map<number, number>() // block → nodes in it

  constructor(base: number) {
    this.base = base
  }

  /** The next free slot in the block of `position`, or undefined where the block is full. */
  take(position: number): number | undefined {
    const block = Math.floor(position / EXACT_BLOCK)
    const numUsed = this.used.get(block) ?? 0
    const slot = Math.max(this.base, block * EXACT_BLOCK) + numUsed
    if (slot >= (block + 1) * EXACT_BLOCK) return undefined
    this.used.set(block, numUsed + 1)
    return slot
  }
}

/** The slot of each node ([nodes], positions are base + depth). Throws `invalid_argument` where a block overflows. */
export function tailSlots(base: number, nodeDepths: ArrayLike<number>): Int32Array {
  const cursor = new SlotCursor(base)
  return Int32Array.from(nodeDepths, (depth, node) => {
    const slot = cursor.take(base + depth)
    if (slot !== undefined) return slot
    throw new ClusterError(
      'invalid_argument',
      `tail of ${nodeDepths.length} nodes at ${base}: node ${node} of position ${base + depth} finds its block of ${EXACT_BLOCK} slots full`,
    )
  })
}

/**
 * Drops the nodes (and their descendants) that find their block full or lie at `maxPositions` or beyond; earlier nodes
 * go first. What is left always lays out. Throws `invalid_argument` where not even the root has a place.
 */
export function fitTree(tree: TokenTree, base: number, maxPositions: number): PrunedTree {
  if (base >= maxPositions) {
    throw new ClusterError('invalid_argument', `position ${base}: the context ends at ${maxPositions}`)
  }
  const cursor = new SlotCursor(base)
  const nodeDepths = depths(tree)
  return pruneTree(tree, (node) => {
    const position = base + nodeDepths[node]!
    return position < maxPositions && cursor.take(position) !== undefined
  })
}
