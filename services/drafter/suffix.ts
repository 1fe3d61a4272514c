// Drafts from frequencies: what followed the longest ends of a sequence that occurred before, in itself (prompt and
// output) and in the finished outputs of its scope (SuffixDecoding, arXiv 2411.04975).
//
// Invariants
//   X1  The longest match speaks first, the sequence's own before the scope's; shorter ones for what it leaves open.
//   X2  Memory: one automaton per living sequence, freed by `forget`, and the store, bounded by its limits.
//   X3  A scope learns finished outputs alone, each once; prompts are never stored.

import type { DraftSequence, TextSource } from './draft-source.js'
import { growTree, trustOf, type Context, type GrowthLimits, type Place } from './ngram-tree.js'
import { SuffixAutomaton, type SuffixMatch } from './suffix-automaton.js'
import { SuffixStore, type SuffixStoreLimits } from './suffix-store.js'

export interface SuffixOptions extends SuffixStoreLimits, GrowthLimits {
  readonly maxStoreMatch: number // tokens looked up in the store
}

export const SUFFIX_DEFAULTS: SuffixOptions = {
  maxGenerationTokens: 65_536,
  maxTokens: 524_288,
  maxScopes: 256,
  maxStoreMatch: 32,
  maxNodes: 64,
  maxDepth: 24, // and as many more as match
  minValue: 0.03,
}

const MAX_FOLLOWERS = 128 // of a match: the first that were seen

/** A match in one of the automata. */
interface Reading {
  readonly automaton: SuffixAutomaton
  readonly match: SuffixMatch
}

/** Drafts of each sequence from itself and from what its scope finished. */
export function createSuffixSource(options: SuffixOptions = SUFFIX_DEFAULTS): TextSource {
  const automata = new Map<string, SuffixAutomaton>() // sequence → its text
  const store = new SuffixStore(options)

  return {
    name: 'suffix',
    observe: ({ id, committed }) => {
      const automaton = automata.get(id) ?? new SuffixAutomaton()
      automata.set(id, automaton)
      for (const token of committed.subarray(automaton.numTokens)) automaton.append(token)
    },
    propose: (target) => {
      const { sequence } = target
      const automaton = automata.get(sequence.id)
      const own = automaton === undefined ? [] : [{ automaton, match: automaton.shorter(automaton.whole) }]
      const readings = [...own, ...readStore(store, sequence, options.maxStoreMatch)]
      const longest = Math.max(0, ...readings.map(({ match }) => match.length))
      if (longest === 0) return
      growTree(placeOf(readings), target, { ...options, maxDepth: options.maxDepth + longest })
    },
    forget: ({ id, scope, committed, promptLength }) => {
      if (automata.delete(id)) store.add(scope, committed.subarray(promptLength))
    },
  }
}

function readStore(store: SuffixStore, { scope, committed }: DraftSequence, maxMatch: number): Reading[] {
  const end = committed.subarray(Math.max(0, committed.length - maxMatch))
  return store.generations(scope).map((automaton) => ({ automaton, match: automaton.match(end) }))
}

function placeOf(readings: readonly Reading[]): Place {
  return {
    contexts: () => contextsOf(readings),
    after: (token) => {
      const next = readings
        .map(({ automaton, match }) => ({ automaton, match: automaton.advance(match, token) }))
        .filter(({ match }) => match.length > 0)
      return next.length === 0 ? undefined : placeOf(next)
    },
  }
}

/** The longest match of any automaton, then the next shorter one, … down to one token. */
function* contextsOf(readings: readonly Reading[]): Generator<Context> {
  const left = [...readings]
  while (left.length > 0) {
    let longest = 0
    for (let i = 1; i < left.length; i++) if (left[i]!.match.length > left[longest]!.match.length) longest = i
    const { automaton, match } = left[longest]!
    if (match.length === 0) return
    const context = contextOf(automaton, match)
    if (context !== undefined) yield context
    left[longest] = { automaton, match: automaton.shorter(match) }
  }
}

/** Undefined where the match stands at the end of all its texts: its shorter ends go on, as a loop does. */
function contextOf(automaton: SuffixAutomaton, match: SuffixMatch): Context | undefined {
  const tokens: number[] = []
  const weights: number[] = []
  let total = 0
  automaton.visitNext(match, MAX_FOLLOWERS, (token, count) => {
    tokens.push(token)
    weights.push(count)
    total += count
  })
  return tokens.length === 0 ? undefined : { tokens, weights, trust: trustOf(total, match.length) }
}
