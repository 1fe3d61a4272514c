// Drafts by copying: what followed the last tokens when they occurred before in the same sequence.
//
// Invariants
//   P1  The longest match decides; shorter ones only add branches, with less weight. The most recent weighs most.
//   P2  A proposal costs O(matches), whatever the length of the sequence.
//   P3  Nothing of one sequence is ever proposed for another.

import type { TextSource } from './draft-source.js'
import { MatchStatistics } from './match-statistics.js'
import { NgramIndex } from './ngram-index.js'
import { growTree, type Context, type GrowthLimits, type Place } from './ngram-tree.js'

export interface PromptLookupOptions extends GrowthLimits {
  readonly maxNgram: number // longest suffix that is looked up, from 1
  readonly maxMatches: number // continuations that become branches of the tree
}

export const PROMPT_LOOKUP_DEFAULTS: PromptLookupOptions = {
  maxNgram: 5,
  maxMatches: 8,
  maxNodes: 64,
  maxDepth: 16,
  minValue: 0.02,
}

const SHORTER_MATCH_WEIGHT = 0.25 // for each token that a match is shorter
const OLDER_MATCH_WEIGHT = 0.8

interface Match {
  readonly end: number // index of the last matching token
  readonly length: number
}

interface Entry {
  readonly levels: readonly NgramIndex[] // level i looks up i + 1 tokens
  pending: { readonly at: number; readonly length: number; readonly tokens: ReadonlySet<number> } | undefined
}

/** Prompt lookup over the committed tokens (prompt and output) of each sequence. */
export function createPromptLookup(options: PromptLookupOptions = PROMPT_LOOKUP_DEFAULTS): TextSource {
  const entries = new Map<string, Entry>()
  const statistics = new MatchStatistics(options.maxNgram)

  return {
    name: 'prompt-lookup',
    observe: ({ id, committed }, from) => {
      const entry = entries.get(id) ?? newEntry(options.maxNgram)
      entries.set(id, entry)
      const { pending } = entry
      if (pending !== undefined && pending.at >= from && pending.at < committed.length) {
        statistics.record(pending.length, pending.tokens.has(committed[pending.at]!))
        entry.pending = undefined
      }
      for (const level of entry.levels) level.extend(committed)
    },
    propose: (target) => {
      const { id, committed } = target.sequence
      const entry = entries.get(id)
      const matches = entry === undefined ? [] : findMatches(entry.levels, committed, options.maxMatches)
      const length = matches[0]?.length
      if (entry === undefined || length === undefined) return
      const continuations = matches.map((match, rank) => continuationOf(committed, match, { longest: length, rank }))
      const copying = {
        committed,
        continuations,
        depth: 0,
        trust: (depth: number) => statistics.confidence(length + depth),
      }
      entry.pending = { at: committed.length, length, tokens: new Set(contextOf(copying).tokens) }
      growTree(placeOf(copying), target, options)
    },
    forget: ({ id }) => entries.delete(id),
  }
}

function newEntry(maxNgram: number): Entry {
  return { levels: Array.from({ length: maxNgram }, (_, i) => new NgramIndex(i + 1)), pending: undefined }
}

/** Earlier occurrences of the last tokens: longest first, then most recent first, each place once. */
function findMatches(levels: readonly NgramIndex[], committed: Int32Array, maxMatches: number): Match[] {
  const matches = new Map<number, Match>()
  for (let length = levels.length; length >= 1 && matches.size < maxMatches; length--) {
    for (const end of levels[length - 1]!.matches(committed, maxMatches)) {
      if (matches.size < maxMatches && !matches.has(end)) matches.set(end, { end, length })
    }
  }
  return [...matches.values()]
}

/** The tokens after a match. Where they reach the end of the sequence they go on as a loop of the same period. */
interface Continuation {
  readonly start: number
  readonly period: number
  readonly weight: number
}

function continuationOf(
  committed: Int32Array,
  { end, length }: Match,
  { longest, rank }: { longest: number; rank: number },
): Continuation {
  const weight = SHORTER_MATCH_WEIGHT ** (longest - length) * OLDER_MATCH_WEIGHT ** rank
  return { start: end + 1, period: committed.length - 1 - end, weight }
}

/** The continuations that agree with the path so far. */
interface Copying {
  readonly committed: Int32Array
  readonly continuations: readonly Continuation[]
  readonly depth: number // of the path
  readonly trust: (depth: number) => number // in a next token, after `depth` right ones
}

function placeOf(copying: Copying): Place {
  return {
    contexts: () => [contextOf(copying)],
    after: (token) => {
      const continuations = copying.continuations.filter((continuation) => nextOf(copying, continuation) === token)
      return placeOf({ ...copying, continuations, depth: copying.depth + 1 })
    },
  }
}

function contextOf(copying: Copying): Context {
  const weights = new Map<number, number>()
  for (const continuation of copying.continuations) {
    const token = nextOf(copying, continuation)
    weights.set(token, (weights.get(token) ?? 0) + continuation.weight)
  }
  return { tokens: [...weights.keys()], weights: [...weights.values()], trust: copying.trust(copying.depth) }
}

function nextOf({ committed, depth }: Copying, { start, period }: Continuation): number {
  return committed[start + (depth % period)]!
}
