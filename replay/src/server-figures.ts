// What grew on the server during a run: drafts and their acceptance, load of experts, its own latency histograms.

import { growth, parseMetrics, sumOf, type Sample } from './prometheus-text.js'
import type { Scrapes } from './server-info.js'

export interface Acceptance {
  readonly drafts: number // trees or drafts verified
  readonly draftTokens: number
  readonly acceptedTokens: number
  readonly rate: number // accepted of drafted
  /** Tokens per verified draft: the accepted ones and the model's own. */
  readonly length: number
  readonly byDepth: readonly { readonly depth: number; readonly drafted: number; readonly accepted: number }[]
  readonly bySource: readonly { readonly source: string; readonly drafted: number; readonly accepted: number }[]
}

export interface ServerFigures {
  readonly acceptance: Acceptance | undefined
  /** Rows per expert, by layer where the server tells layers ('' where it does not). */
  readonly expertRows: readonly { readonly layer: string; readonly expert: number; readonly rows: number }[]
  readonly samples: readonly Sample[] // all that grew
}

/** Of what told its counts before and after: of a second scrape alone nobody knows what the run added. */
export function serverFigures(before: Scrapes, after: Scrapes): ServerFigures | undefined {
  const both = [...after].flatMap(([url, text]) => {
    const first = before.get(url)
    return first === undefined ? [] : [{ first, text }]
  })
  if (both.length === 0) return undefined
  const samples = both.flatMap(({ first, text }) => growth(parseMetrics(first), parseMetrics(text)))
  return { acceptance: acceptanceOf(samples), expertRows: expertRowsOf(samples), samples }
}

/** vLLM's counters, with and without the suffix that Prometheus' clients add. */
const counterOf = (samples: readonly Sample[], name: string): number =>
  sumOf(samples, name) + sumOf(samples, `${name}_total`)

function acceptanceOf(samples: readonly Sample[]): Acceptance | undefined {
  const drafts = counterOf(samples, 'vllm:spec_decode_num_drafts')
  const draftTokens = counterOf(samples, 'vllm:spec_decode_num_draft_tokens')
  const acceptedTokens = counterOf(samples, 'vllm:spec_decode_num_accepted_tokens')
  if (draftTokens === 0) return undefined
  const nodes = samples.filter(({ name }) => name === 'banyan:draft_nodes_total')
  return {
    drafts,
    draftTokens,
    acceptedTokens,
    rate: acceptedTokens / draftTokens,
    length: drafts === 0 ? 1 : 1 + acceptedTokens / drafts,
    byDepth: tally(nodes, 'depth')
      .map(({ key, ...counts }) => ({ depth: Number(key), ...counts }))
      .sort((a, b) => a.depth - b.depth),
    bySource: tally(nodes, 'source').map(({ key, ...counts }) => ({ source: key, ...counts })),
  }
}

function tally(nodes: readonly Sample[], label: string) {
  const counts = new Map<string, { drafted: number; accepted: number }>()
  for (const { labels, value } of nodes) {
    const key = labels[label] ?? ''
    const count = counts.get(key) ?? { drafted: 0, accepted: 0 }
    count.drafted += value
    if (labels.accepted === 'true') count.accepted += value
    counts.set(key, count)
  }
  return [...counts].map(([key, count]) => ({ key, ...count }))
}

function expertRowsOf(samples: readonly Sample[]): ServerFigures['expertRows'] {
  const rows = new Map<string, { layer: string; expert: number; rows: number }>()
  for (const { name, labels, value } of samples) {
    if (name !== 'banyan:expert_rows_total' || labels.expert === undefined) continue
    const layer = labels.layer ?? ''
    const key = `${layer}|${labels.expert}`
    const entry = rows.get(key) ?? { layer, expert: Number(labels.expert), rows: 0 }
    rows.set(key, { ...entry, rows: entry.rows + value })
  }
  return [...rows.values()].sort((a, b) => Number(a.layer) - Number(b.layer) || a.expert - b.expert)
}
