// The keys and values of one sequence, in pages of PAGE_SLOTS slots in the engine's memory. A page may belong to several
// sequences that share a prefix: it is copied by the first one that writes to it.
//
// Invariants
//   KV1  Slots below `length` hold the committed tokens in position order.
//   KV2  The tail (slots from `length`) holds the rows of the last step; commit moves the accepted ones down in
//        ascending order, so no source is overwritten before it is read, and no key is rotated again.
//   KV3  Unused slots hold finite numbers: what a row does not see contributes an exact zero.
//   KV4  A page with more than one owner is never written; one without an owner goes back to the pool.

import type { Kernels } from '../compute/kernels.js'
import {
  copySlot,
  PAGE_SLOTS,
  pageBytes,
  pageNumbers,
  SLACK_BYTES,
  type KvGeometry,
  type PageNumbers,
} from '../compute/kv-layout.js'
import type { KvFormat } from '../model/kv-formats.js'
import type { SequenceCache } from './attention-engine.js'

/** Makes pages for the sequences of a worker. */
export interface PagePool {
  readonly kernels: Kernels
  readonly layers: readonly KvGeometry[]
  readonly format: KvFormat
}

/** One page: PAGE_SLOTS slots of every layer. */
interface SharedPage {
  readonly address: number
  owners: number
}

/** KV pages of one sequence; they are added as it grows. */
export class KvCache implements SequenceCache {
  private readonly pool: PagePool
  private readonly pages: SharedPage[] = []
  private committed = 0

  constructor(pool: PagePool) {
    this.pool = pool
  }

  get length(): number {
    return this.committed
  }

  /** Makes room for `slots` slots. Throws `resource_exhausted` where the engine's memory is full. */
  reserve(slots: number): void {
    while (this.pages.length * PAGE_SLOTS < slots) this.pages.push(newPage(this.pool))
  }

  /** Addresses of all pages. */
  get addresses(): number[] {
    return this.pages.map(({ address }) => address)
  }

  /** Makes the pages of these slots this sequence's own, so that rows can be written there (KV4). */
  own(slots: ArrayLike<number>): void {
    let last = -1
    for (let i = 0; i < slots.length; i++) {
      const page = slots[i]! >> PAGE_SHIFT
      if (page !== last) this.ownPage(page)
      last = page
    }
  }

  /** A sequence with the first `slots` slots of this one: whole pages are shared, and copied when written. */
  fork(slots: number): KvCache {
    const fork = new KvCache(this.pool)
    for (const page of this.pages.slice(0, Math.ceil(slots / PAGE_SLOTS))) {
      page.owners += 1
      fork.pages.push(page)
    }
    fork.committed = slots
    return fork
  }

  /** Gives the pages up; the sequence is not used again. */
  release(): void {
    for (const page of this.pages) leave(this.pool, page)
    this.pages.length = 0
    this.committed = 0
  }

  /** Committed tokens held, those of a shared page in equal parts by its owners. */
  get heldTokens(): number {
    let sum = 0
    let left = this.committed
    for (const { owners } of this.pages) {
      sum += Math.min(PAGE_SLOTS, left) / owners
      left -= Math.min(PAGE_SLOTS, left)
    }
    return sum
  }

  /** Moves the accepted tail slots (ascending) to the end of the committed ones. */
  commit(acceptedSlots: ArrayLike<number>): void {
    for (let i = 0; i < acceptedSlots.length; i++) {
      const from = acceptedSlots[i]!
      const to = this.committed + i
      if (from !== to) this.moveSlot(from, to)
    }
    this.committed += acceptedSlots.length
  }

  private moveSlot(from: number, to: number): void {
    const target = numbersOf(this.pool, this.ownPage(to >> PAGE_SHIFT))
    const source = numbersOf(this.pool, this.pages[from >> PAGE_SHIFT]!)
    copySlot(this.pool.layers, { page: source, slot: from % PAGE_SLOTS }, { page: target, slot: to % PAGE_SLOTS })
  }

  /** The page, copied first where others own it too (KV4). */
  private ownPage(index: number): SharedPage {
    const page = this.pages[index]!
    if (page.owners === 1) return page
    const copy = newPage(this.pool)
    numbersOf(this.pool, copy).set(numbersOf(this.pool, page))
    leave(this.pool, page)
    this.pages[index] = copy
    return copy
  }
}

const PAGE_SHIFT = Math.log2(PAGE_SLOTS)

const numbersOf = ({ kernels, layers, format }: PagePool, { address }: SharedPage): PageNumbers =>
  pageNumbers(kernels.bytes(address, pageBytes(layers, format)), format)

function newPage(pool: PagePool): SharedPage {
  const { kernels, layers, format } = pool
  const page = { address: kernels.allocate(pageBytes(layers, format) + SLACK_BYTES), owners: 1 }
  numbersOf(pool, page).fill(0) // KV3: the memory may have been used before
  return page
}

function leave({ kernels }: PagePool, page: SharedPage): void {
  page.owners -= 1
  if (page.owners === 0) kernels.release(page.address)
}
