// KV accounting of one attention worker, in blocks of 16 tokens. The tensors live there; the router only counts.
//
// Invariants
//   B1  What is held, by running and by kept sequences, never grows above the capacity (this router's share of the worker),
//       but for one sequence that holds all there is: it may take the whole worker. A shared page counts once.
//   B2  A sequence's blocks come back exactly once, whatever way it ends.

export const BLOCK_TOKENS = 16

/** Blocks of a page, the unit that sequences share (`lib/compute/attention-core`). */
const PAGE_BLOCKS = 8

export interface KvBlocks {
  readonly capacity: number // blocks; what is held may be above it after it shrank
  readonly whole: number // blocks of the worker
  /** Sets the capacity: another share of the whole. */
  resize(capacityTokens: number): void
  readonly used: number // by sequences that run
  readonly kept: number // by ended sequences alone, for their prefixes
  /** Grows a sequence's share to hold `tokens`; false where there is no room, and nothing changes then. */
  reserve(sequence: string, tokens: number): boolean
  /** Lets a new sequence share the whole pages in the first `tokens` tokens of another. */
  share(from: string, to: string, tokens: number): void
  /** The sequence has ended, and its blocks are kept. */
  keep(sequence: string): void
  release(sequence: string): void
  holds(sequence: string): boolean
}

interface Share {
  own: number // blocks that nobody else holds
  readonly pages: Page[] // the first ones, shared
  isKept: boolean
}

/** A page of several sequences. */
interface Page {
  owners: number
  live: number // of them running
}

export const blocksFor = (tokens: number): number => Math.ceil(tokens / BLOCK_TOKENS)

export function createKvBlocks(wholeTokens: number): KvBlocks {
  const whole = Math.floor(wholeTokens / BLOCK_TOKENS)
  let capacity = whole
  const shares = new Map<string, Share>()
  let used = 0
  let kept = 0

  /** Moves a shared page's blocks between the two counts as its owners come, end and go. */
  const change = (page: Page, owners: number, live: number): void => {
    const count = (sign: 1 | -1): void => {
      if (page.live > 0) used += sign * PAGE_BLOCKS
      else if (page.owners > 0) kept += sign * PAGE_BLOCKS
    }
    count(-1)
    page.owners += owners
    page.live += live
    count(1)
  }

  const shareOf = (sequence: string): Share => {
    const share = shares.get(sequence) ?? { own: 0, pages: [], isKept: false }
    shares.set(sequence, share)
    return share
  }

  return {
    whole,
    get capacity() {
      return capacity
    },
    resize: (capacityTokens) => {
      capacity = Math.min(whole, Math.floor(capacityTokens / BLOCK_TOKENS))
    },
    get used() {
      return used
    },
    get kept() {
      return kept
    },
    reserve: (sequence, tokens) => {
      const has = shares.get(sequence)
      const growth = blocksFor(tokens) - (has?.own ?? 0) - (has?.pages.length ?? 0) * PAGE_BLOCKS
      if (growth <= 0) return true
      const isAlone = shares.size === 0 || (shares.size === 1 && has !== undefined)
      if (used + kept + growth > (isAlone ? whole : capacity)) return false
      shareOf(sequence).own += growth
      used += growth
      return true
    },
    share: (from, to, tokens) => {
      const source = shareOf(from)
      const target = shareOf(to)
      const live = source.isKept ? 0 : 1
      for (let i = 0; i < Math.floor(blocksFor(tokens) / PAGE_BLOCKS); i++) {
        if (i >= source.pages.length) {
          source.own -= PAGE_BLOCKS // from here on the page counts, not its first owner
          source.pages.push({ owners: 1, live })
        }
        const page = source.pages[i]!
        change(page, 1, 1)
        target.pages.push(page)
      }
    },
    keep: (sequence) => {
      const share = shares.get(sequence)
      if (share === undefined || share.isKept) return
      share.isKept = true
      used -= share.own
      kept += share.own
      for (const page of share.pages) change(page, 0, -1)
    },
    release: (sequence) => {
      const share = shares.get(sequence)
      if (share === undefined) return
      if (share.isKept) kept -= share.own
      else used -= share.own
      for (const page of share.pages) change(page, -1, share.isKept ? 0 : -1)
      shares.delete(sequence)
    },
    holds: (sequence) => shares.has(sequence),
  }
}
