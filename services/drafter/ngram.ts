// Drafts from pairs: what mostly followed the last two tokens, and the last one. Knows little, costs next to nothing,
// and has something to say where no longer match is found.
//
// Invariants
//   M1  One table per scope, dropped for the least recently used scopes; a sequence without a scope has its own, freed
//       by `forget`. Every table is bounded.
//   M2  A token is learned once for a sequence, however often it is told.

import type { DraftSequence, TextSource } from './draft-source.js'
import { NO_TOKEN, type Followers } from './ngram-contexts.js'
import { NgramTable } from './ngram-table.js'
import { growTree, trustOf, type Context, type GrowthLimits, type Place } from './ngram-tree.js'

export interface NgramOptions extends GrowthLimits {
  readonly maxScopes: number
  readonly maxScopeContexts: number // of each of two generations, as the next one
  readonly maxSequenceContexts: number
}

export const NGRAM_DEFAULTS: NgramOptions = {
  maxScopes: 32,
  maxScopeContexts: 32_768,
  maxSequenceContexts: 8_192,
  maxNodes: 12,
  maxDepth: 4,
  minValue: 0.05,
}

/** What is kept of a living sequence. */
interface Entry {
  readonly table: NgramTable | undefined // undefined: that of the scope
  numRead: number
}

/** Drafts of each sequence from the pairs of its scope, or its own. */
export function createNgramSource(options: NgramOptions = NGRAM_DEFAULTS): TextSource {
  const entries = new Map<string, Entry>()
  const scopes = new ScopeTables(options)
  const newEntry = (scope: string): Entry => ({
    table: scope === '' ? new NgramTable(options.maxSequenceContexts) : undefined,
    numRead: 0,
  })

  return {
    name: 'ngram',
    observe: ({ id, scope, committed }) => {
      const entry = entries.get(id) ?? newEntry(scope)
      entries.set(id, entry)
      const table = entry.table ?? scopes.use(scope)
      table.read(committed, entry.numRead)
      entry.numRead = committed.length
    },
    propose: (target) => {
      const { sequence } = target
      const entry = entries.get(sequence.id)
      if (entry === undefined) return
      const table = entry.table ?? scopes.use(sequence.scope)
      growTree(rootPlace(table, sequence), target, options)
    },
    forget: ({ id }) => entries.delete(id),
  }
}

class ScopeTables {
  private readonly limits: NgramOptions
  private readonly tables = new Map<string, NgramTable>() // least recently used first

  constructor(limits: NgramOptions) {
    this.limits = limits
  }

  use(scope: string): NgramTable {
    const table = this.tables.get(scope) ?? new NgramTable(this.limits.maxScopeContexts)
    this.tables.delete(scope)
    this.tables.set(scope, table)
    for (const unused of this.tables.keys()) {
      if (this.tables.size <= this.limits.maxScopes) break
      this.tables.delete(unused)
    }
    return table
  }
}

function rootPlace(table: NgramTable, { committed }: DraftSequence): Place {
  return placeOf(table, committed[committed.length - 2] ?? NO_TOKEN, committed[committed.length - 1]!)
}

function placeOf(table: NgramTable, before: number, last: number): Place {
  return {
    contexts: () => contextsOf(table, before, last),
    after: (token) => placeOf(table, last, token),
  }
}

function* contextsOf(table: NgramTable, before: number, last: number): Generator<Context> {
  const afterTwo = before === NO_TOKEN ? undefined : table.followers({ before, last })
  if (afterTwo !== undefined) yield contextOf(afterTwo, 2)
  const afterOne = table.followers({ before: NO_TOKEN, last })
  if (afterOne !== undefined) yield contextOf(afterOne, 1)
}

function contextOf({ tokens, counts }: Followers, length: number): Context {
  const total = counts.reduce((sum, count) => sum + count, 0)
  return { tokens, weights: counts, trust: trustOf(total, length) }
}
