// The series of a drafter: what it is asked, what its sources propose, how long that takes. What came of it the routers know.

import { MS_PER_SECOND, SHORT_SECONDS, type MetricsRegistry } from '../../lib/metrics/registry.js'
import type { Draft } from './drafting.js'

export interface DrafterMetrics {
  proposed(proposal: { readonly drafts: readonly Draft[]; readonly resends: number; readonly tookMs: number }): void
  /** What is held from now on; a restart of the actor begins anew. */
  holds(read: () => Held): void
  /** How many questions wait. */
  queues(read: () => number): void
}

interface Held {
  readonly sequences: number
  readonly tokens: number
}

/** `names`: bit i of a node's sources is the i-th. */
export function createDrafterMetrics(registry: MetricsRegistry, names: readonly string[]): DrafterMetrics {
  const proposals = registry.counter('banyan:drafter_proposals_total', 'Questions answered, each for many sequences.')
  const sequences = registry.counter('banyan:drafter_trees_total', 'Trees drafted, one a sequence and question.')
  const resends = registry.counter(
    'banyan:drafter_resends_total',
    'Sequences of which the drafter did not hold the beginning: it asked for all tokens.',
  )
  const nodes = registry.counter(
    'banyan:drafter_nodes_total',
    'Nodes proposed, by source (a node of several counts for each).',
    { source: names },
  )
  const seconds = registry.histogram('banyan:drafter_seconds', 'Duration of an answer.', SHORT_SECONDS)
  const waiting = registry.gauge('banyan:drafter_queued', 'Questions that wait.')
  const known = registry.gauge('banyan:drafter_sequences', 'Sequences whose tokens are held.')
  const tokens = registry.gauge('banyan:drafter_tokens', 'Tokens of these.')
  let held = (): Held => ({ sequences: 0, tokens: 0 })
  registry.onScrape(() => {
    known.set(held().sequences)
    tokens.set(held().tokens)
  })
  return {
    proposed: ({ drafts, resends: numResends, tookMs }) => {
      proposals.inc()
      sequences.inc(drafts.length)
      resends.inc(numResends)
      seconds.observe(tookMs / MS_PER_SECOND)
      const counts = new Uint32Array(names.length)
      for (const { sources } of drafts) {
        for (let node = 1; node < sources.length; node++) {
          for (let i = 0; i < names.length; i++) if (((sources[node]! >> i) & 1) === 1) counts[i]! += 1
        }
      }
      names.forEach((source, i) => nodes.inc({ source }, counts[i]))
    },
    holds: (read) => void (held = read),
    queues: (read) => registry.onScrape(() => waiting.set(read())),
  }
}
