// Drafts by copying: what followed the last tokens when they occurred before in the same sequence.
//
// Invariants
//   P1  The longest match decides; shorter ones only add branches, with less weight. The most recent weighs most.
//   P2  A proposal costs O(matches), whatever the length of the sequence.
//   P3  Nothing of one sequence is ever proposed for another.

import { mergeContinuations, type Continuation } from './continuation-trie.js'
import { emptyDraft, type DraftSource } from './draft-source.js'
import { MatchStatistics } from './match-statistics.js'
import { NgramIndex } from './ngram-index.js'

export interface PromptLookupOptions {
  readonly maxNgram: number // longest suffix that is looked up, from 1
  readonly maxMatches: number // continuations merged into one tree
  readonly maxDepth: number // tokens copied from a match
  readonly minValue: number // nodes of a lower estimated probability are left out
}

export const PROMPT_LOOKUP_DEFAULTS: PromptLookupOptions = { maxNgram: 5, maxMatches: 8, maxDepth: 16, minValue: 0.02 }

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
export function createPromptLookup(options: PromptLookupOptions = PROMPT_LOOKUP_DEFAULTS): DraftSource {
  const { maxNgram, maxMatches, minValue } = options
  const entries = new Map<string, Entry>()
  const statistics = new MatchStatistics(maxNgram)

  return {
    name: 'prompt-lookup',
    observe: (sequence, committed, from) => {
      const entry = entries.get(sequence) ?? newEntry(maxNgram)
      entries.set(sequence, entry)
      const { pending } = entry
      if (pending !== undefined && pending.at >= from && pending.at < committed.length) {
        statistics.record(pending.length, pending.tokens.has(committed[pending.at]!))
        entry.pending = undefined
      }
      for (const level of entry.levels) level.extend(committed)
    },
    propose: (sequence, committed, maxNodes) => {
      const root = committed[committed.length - 1]!
      const entry = entries.get(sequence)
      const matches = entry === undefined ? [] : findMatches(entry.levels, committed, maxMatches)
      const longest = matches[0]?.length
      if (entry === undefined || longest === undefined) return emptyDraft(root)
      const continuations = matches.map((match, rank) =>
        continuationOf(committed, match, { longest, rank, ...options }),
      )
      entry.pending = {
        at: committed.length,
        length: longest,
        tokens: new Set(continuations.map(({ tokens }) => tokens[0]!)),
      }
      return mergeContinuations(root, continuations, {
        maxNodes,
        minValue,
        confidence: (depth) => statistics.confidence(longest + depth),
      })
    },
    forget: (sequence) => entries.delete(sequence),
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
function continuationOf(
  committed: Int32Array,
  { end, length }: Match,
  { longest, rank, maxDepth }: { longest: number; rank: number; maxDepth: number },
): Continuation {
  const period = committed.length - 1 - end
  return {
    tokens: Array.from({ length: maxDepth }, (_, i) => committed[end + 1 + (i % period)]!),
    weight: SHORTER_MATCH_WEIGHT ** (longest - length) * OLDER_MATCH_WEIGHT ** rank,
  }
}
