// Keys and values of one sequence in a draft model: committed places, and the tree nodes that were run after them.
//
// Invariants
//   N1  Places below `length` are committed; each node run since lies in a slot of its own above them, parents first.
//   N2  `commit` moves a path of nodes down; `clear` forgets the others. What is appended comes after a clear.

import type { AttentionSpan, RowView } from '../../lib/compute/attention-batch.js'
import { KvCache, type PagePool } from '../../lib/decode/kv-cache.js'

interface RunNode {
  readonly slot: number
  readonly ancestors: readonly number[] // slots of the path to it, itself included
}

export class NodeCache {
  private readonly cache: KvCache
  private readonly nodes = new Map<number, RunNode>() // by node of the candidate tree

  constructor(pool: PagePool) {
    this.cache = new KvCache(pool)
  }

  get length(): number {
    return this.cache.length
  }

  has(node: number): boolean {
    return this.nodes.has(node)
  }

  /** Rows of the next `count` places, committed at once: who runs them has their keys there. */
  append(count: number): AttentionSpan {
    this.nodes.clear()
    const first = this.cache.length
    const slots = Array.from({ length: count }, (_, i) => first + i)
    this.cache.reserve(first + count)
    this.cache.commit(slots)
    return { views: slots.map((slot) => ({ prefix: slot + 1, more: [] })), slots, pages: this.cache.addresses }
  }

  /** Rows of tree nodes, each after its parent (0: the root, which is committed). */
  place(rows: readonly { readonly node: number; readonly parent: number }[]): AttentionSpan {
    const slots: number[] = []
    const views: RowView[] = []
    for (const { node, parent } of rows) {
      const slot = this.cache.length + this.nodes.size
      const ancestors = [...(this.nodes.get(parent)?.ancestors ?? []), slot]
      this.nodes.set(node, { slot, ancestors })
      slots.push(slot)
      views.push({ prefix: this.cache.length, more: ancestors })
    }
    this.cache.reserve(this.cache.length + this.nodes.size)
    return { views, slots, pages: this.cache.addresses }
  }

  /** Keeps the nodes of a path from the root as committed places. */
  commit(path: readonly number[]): void {
    this.cache.commit(path.map((node) => this.nodes.get(node)?.slot ?? this.cache.length))
    this.nodes.clear()
  }

  release(): void {
    this.nodes.clear()
    this.cache.release()
  }
}
