// Which sequences of one attention worker hold the KV of which prefix: a radix tree over blocks of 16 tokens. Sequences
// that have ended are kept, least recently used first to go, so that the next request with the same beginning need not
// compute it again.
//
// Invariants
//   P1  A prefix is found only while a sequence holds it, and is shorter than what asks for it: one row is computed.
//   P2  What is found never changes a token: the KV of a prefix is a function of its tokens (I1).

import { BLOCK_TOKENS } from './kv-blocks.js'

export interface Prefix {
  readonly sequence: string // that holds it
  readonly length: number // tokens, a multiple of BLOCK_TOKENS
}

export interface PrefixCache {
  /** The sequence's KV holds the first `length` of these tokens. */
  note(sequence: string, tokens: readonly number[], length: number): void
  /** The longest held prefix of these tokens; the sequence that holds it counts as used. */
  find(tokens: readonly number[]): Prefix | undefined
  /** How many tokens `find` would find, without using them. */
  peek(tokens: readonly number[]): number
  /** The sequence has ended; false where it holds nothing that could be found. */
  keep(sequence: string): boolean
  /** The kept sequence to give up next, if there is one beside `except`. */
  oldest(except?: string): string | undefined
  forget(sequence: string): void
  readonly kept: readonly string[]
}

interface Node {
  readonly children: Map<string, Node>
  readonly holders: Set<string>
  readonly parent: Node | undefined
  readonly key: string
}

/** A cache that finds nothing. */
export const NO_PREFIXES: PrefixCache = {
  note: () => undefined,
  find: () => undefined,
  peek: () => 0,
  keep: () => false,
  oldest: () => undefined,
  forget: () => undefined,
  kept: [],
}

export function createPrefixCache(): PrefixCache {
  const root: Node = { children: new Map(), holders: new Set(), parent: undefined, key: '' }
  const paths = new Map<string, Node[]>() // sequence → its blocks
  const kept = new Set<string>() // least recently used first

  const keyOf = (tokens: readonly number[], block: number): string =>
    tokens.slice(block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS).join()

  const childOf = (node: Node, key: string): Node => {
    const child = node.children.get(key) ?? { children: new Map(), holders: new Set(), parent: node, key }
    node.children.set(key, child)
    return child
  }

  /** The deepest held node on the way of the tokens; its depth in blocks. */
  const walk = (tokens: readonly number[]): { node: Node; depth: number } => {
    let node = root
    let depth = 0
    while ((depth + 1) * BLOCK_TOKENS < tokens.length) {
      const child = node.children.get(keyOf(tokens, depth))
      if (child === undefined) break
      node = child
      depth += 1
    }
    return { node, depth }
  }

  return {
    note: (sequence, tokens, length) => {
      const path = paths.get(sequence) ?? []
      for (let block = path.length; (block + 1) * BLOCK_TOKENS <= length; block++) {
        const node = childOf(path.at(-1) ?? root, keyOf(tokens, block))
        node.holders.add(sequence)
        path.push(node)
      }
      if (path.length > 0) paths.set(sequence, path)
    },
    find: (tokens) => {
      const { node, depth } = walk(tokens)
      const [sequence] = node.holders
      if (depth === 0 || sequence === undefined) return undefined
      if (kept.delete(sequence)) kept.add(sequence)
      return { sequence, length: depth * BLOCK_TOKENS }
    },
    peek: (tokens) => walk(tokens).depth * BLOCK_TOKENS,
    keep: (sequence) => {
      if (paths.has(sequence)) kept.add(sequence)
      return kept.has(sequence)
    },
    oldest: (except) => [...kept].find((sequence) => sequence !== except),
    forget: (sequence) => {
      kept.delete(sequence)
      for (const node of [...(paths.get(sequence) ?? [])].reverse()) {
        node.holders.delete(sequence)
        if (node.holders.size === 0) node.parent?.children.delete(node.key)
      }
      paths.delete(sequence)
    },
    get kept() {
      return [...kept]
    },
  }
}
