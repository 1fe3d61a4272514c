// Checks that a layer's attention gives a tree node the bits of plain decoding of its path.

import type { Hash } from 'node:crypto'
import { ancestors, depths, type TokenTree } from '../speculative/token-tree.js'
import { batchShape, layOutBatch, rowViews, type RowView } from './attention-batch.js'
import { concat } from './concat.js'
import type { KernelReport } from './device-class.js'
import type { Kernels } from './kernels.js'
import { layerBytes, PAGE_SLOTS, SLACK_BYTES } from './kv-layout.js'
import { createProbedLayer, nameOfProbed, type ProbedAttention } from './probe-layer.js'
import { probeValues, sameBits } from './probe-values.js'
import { createRoom } from './room.js'

/** Rows of hidden states that the probe's layer maps to rows of the same width. */
const HIDDEN = 64
const LONGEST = 600 // positions that have embeddings and tables

// A chain of five, then branches: siblings lie between the nodes of every path, and from the bases just below a page
// boundary the chain fills the page and the branches start in the next.
const TREE: TokenTree = { parents: [-1, 0, 1, 2, 3, 4, 4, 5, 5, 6, 7, 7, 8], tokens: Array<number>(13).fill(0) }
const PROBE_BASES = [1, 40, PAGE_SLOTS - 5, 2 * PAGE_SLOTS - 5]

/** A node, then branch by branch what grows on it: in this order paths that begin alike follow each other. */
const branchFrom = (node: number): number[] => [
  node,
  ...Array.from(TREE.parents).flatMap((parent, child) => (parent === node ? branchFrom(child) : [])),
]

/** Every node of a tree against plain decoding of its path, around page boundaries and in short contexts. */
export function probeAttention(kernels: Kernels, attention: ProbedAttention, hash?: Hash): KernelReport {
  const probe = createAttentionProbe(kernels, attention)
  let isExact = true
  for (const base of PROBE_BASES) {
    const rows = probe.attendTree(base, TREE)
    for (const row of rows) hash?.update(new Uint8Array(row.buffer, row.byteOffset, row.byteLength))
    isExact = branchFrom(0).every((node) => sameBits(probe.attendPath(base, TREE, node), rows[node]!)) && isExact
  }
  probe.dispose()
  return {
    kernel: `tree attention, ${nameOfProbed(attention)}`,
    exactness: isExact ? 'exact' : 'inexact',
  }
}

export interface AttentionProbe {
  /** The layer's normed output for every node of a tree after `base` tokens. */
  attendTree(base: number, tree: TokenTree): readonly Float32Array[]
  /** The same for one node where the tokens of its path come one by one; how the last path began needs not come again. */
  attendPath(base: number, tree: TokenTree, node: number): Float32Array
  dispose(): void
}

const rowOf = (rows: Float32Array, row: number): Float32Array => rows.subarray(row * HIDDEN, (row + 1) * HIDDEN)

/** One row: its place in the probe's embeddings, its position, its slot, what it sees. */
interface ProbeRow {
  readonly id: number
  readonly position: number
  readonly slot: number
  /** Slots: all below `prefix`, and a list above it, rising, its own last. */
  readonly view: RowView
}

/** A layer with made-up weights and room for a few hundred tokens. */
export function createAttentionProbe(kernels: Kernels, attention: ProbedAttention): AttentionProbe {
  const { layer, kv, rotatedDim } = createProbedLayer(kernels, attention, HIDDEN)
  const shape = batchShape([layer.needs], { hidden: HIDDEN, expertBlocks: 0 })
  const room = createRoom(kernels)
  const embeddings = probeValues(2 * LONGEST * HIDDEN, 31, 2)
  const angles = probeValues(LONGEST * rotatedDim, 57, 2)
  const pages = Array.from({ length: Math.ceil(LONGEST / PAGE_SLOTS) }, () => {
    const size = layerBytes(kv, attention.kv ?? 'f32')
    const address = kernels.allocate(size + SLACK_BYTES)
    kernels.bytes(address, size).fill(0)
    return address
  })

  /** Normed rows after the layer: [rows, HIDDEN]. */
  const run = (rows: readonly ProbeRow[]): readonly Float32Array[] => {
    const views = rows.map(({ view }) => view)
    const batch = layOutBatch(kernels, room, shape, {
      spans: [{ views, slots: rows.map(({ slot }) => slot), pages }],
      x: concat(rows.map(({ id }) => rowOf(embeddings, id))),
      tables: [concat(rows.map(({ position }) => angles.subarray(position * rotatedDim, (position + 1) * rotatedDim)))],
    })
    layer.run(batch)
    const n = kernels.floats(batch.n, rows.length * HIDDEN).slice()
    return rows.map((_, row) => rowOf(n, row))
  }

  const plain = (id: number, position: number): ProbeRow => {
    return { id, position, slot: position, view: { prefix: position + 1, more: [] } }
  }
  let held = 0 // tokens whose keys and values lie in their slots; a tree or a path overwrites those behind its base
  let heldPath: readonly number[] = [] // nodes whose keys and values lie in the slots from there on
  const prefill = (base: number): void => {
    if (held === base) return
    if (held < base) run(Array.from({ length: base - held }, (_, i) => plain(held + i, held + i)))
    held = base
    heldPath = []
  }
  const idOf = (node: number): number => LONGEST + node

  return {
    attendTree: (base, tree) => {
      const nodeDepths = depths(tree)
      const slots = nodeDepths.map((_, node) => base + node)
      const views = rowViews(base, tree.parents, slots)
      prefill(base)
      heldPath = []
      return run(
        Array.from(slots, (slot, node) => ({
          id: idOf(node),
          position: base + nodeDepths[node]!,
          slot,
          view: views[node]!,
        })),
      )
    },
    attendPath: (base, tree, node) => {
      prefill(base)
      const path = ancestors(tree, node)
      const numAlike = path.findIndex((step, depth) => depth === path.length - 1 || step !== heldPath[depth])
      heldPath = path
      const rows = path.map((step, depth) => plain(idOf(step), base + depth)).slice(numAlike)
      return rows.map((row) => run([row])).at(-1)?.[0] ?? new Float32Array(0)
    },
    dispose: () => {
      layer.dispose()
      room.dispose()
      pages.forEach((page) => kernels.release(page))
    },
  }
}
