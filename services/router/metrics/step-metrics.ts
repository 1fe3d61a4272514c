// Steps as the router drives them: their sizes and times, where the time went, what was drafted and what came of it.

import { MS_PER_SECOND, SHORT_SECONDS, type MetricsRegistry } from '../../../lib/metrics/registry.js'
import type { StepReport } from '../step-report.js'

const POSITIONS = 8 // drafted positions that have a series before they are reached

/** Where a step's time goes, in the order in which it does. */
const PARTS: readonly { readonly part: string; readonly ms: (step: StepReport) => number }[] = [
  { part: 'router', ms: ({ times }) => times.routerMs },
  { part: 'draft_wait', ms: ({ draftMs }) => draftMs },
  { part: 'attention_hop', ms: ({ times }) => times.hopMs },
  { part: 'attention', ms: ({ times }) => times.attentionMs },
  { part: 'expert_hop', ms: ({ times }) => times.expertHopMs },
  { part: 'expert_compute', ms: ({ times }) => times.expertComputeMs },
  { part: 'head', ms: ({ times }) => times.headMs },
  { part: 'worker_rest', ms: ({ times }) => times.workerRestMs },
]

export function addStepMetrics(registry: MetricsRegistry): (step: StepReport) => void {
  const observe = [addSizes(registry), addParts(registry), addDrafts(registry)]
  return (step) => observe.forEach((one) => one(step))
}

function addSizes(registry: MetricsRegistry) {
  const steps = registry.tally('banyan:steps_total', 'Steps that an attention worker answered.')
  const rows = registry.tally('banyan:step_rows_total', 'Rows of these steps: prefill, decode and drafted nodes.')
  const sequences = registry.tally('banyan:step_sequences_total', 'Sequences of these steps.')
  const emitted = registry.tally('banyan:step_emitted_tokens_total', 'Tokens that these steps yielded.')
  const seconds = registry.timings('banyan:step_seconds', 'Duration of a step as the router sees it.', SHORT_SECONDS)
  return (step: StepReport): void => {
    steps(1)
    rows(step.rows)
    sequences(step.sequences)
    emitted(step.emitted)
    seconds(step.durationMs / MS_PER_SECOND)
  }
}

function addParts(registry: MetricsRegistry) {
  const parts = registry.tallies(
    'banyan:step_part_seconds_total',
    'Where the time of steps went; the parts add up to it. worker_rest: on the attention worker beside attention, experts and head; attention_hop: to that worker and back.',
    { label: 'part', values: PARTS.map(({ part }) => part) },
  )
  return (step: StepReport): void => {
    PARTS.forEach(({ ms }, place) => parts(place, ms(step) / MS_PER_SECOND))
  }
}

function addDrafts(registry: MetricsRegistry) {
  const drafts = registry.counter(
    'vllm:spec_decode_num_drafts_total',
    'Drafted trees verified, one a sequence and step.',
  )
  const draftTokens = registry.counter('vllm:spec_decode_num_draft_tokens_total', 'Drafted nodes verified.')
  const accepted = registry.counter('vllm:spec_decode_num_accepted_tokens_total', 'Drafted nodes accepted.')
  const perPosition = registry.counter(
    'vllm:spec_decode_num_accepted_tokens_per_pos_total',
    'Drafted nodes accepted, by their position behind the last token, from 0.',
    { position: Array.from({ length: POSITIONS }, (_, position) => String(position)) },
  )
  const nodes = registry.counter(
    'banyan:draft_nodes_total',
    'Drafted nodes verified, by source (a node of several counts for each), depth and whether they came true.',
    { source: [], depth: [], accepted: [] },
  )
  const value = registry.counter(
    'banyan:draft_value_total',
    'Estimated acceptance of the drafted nodes verified, summed: over it, those accepted tell how good the estimate is.',
  )
  const offered = registry.counter(
    'banyan:draft_nodes_offered_total',
    'Nodes that drafters proposed; the others did not pay.',
  )
  const asked = registry.counter('banyan:draft_requests_total', 'Sequences for which a drafter was asked.')
  const seconds = registry.histogram('banyan:draft_wait_seconds', 'Time that a step waited for drafts.', SHORT_SECONDS)
  const price = registry.gauge('banyan:tree_price', 'Least value at which a node paid in the last step with drafts.')
  return (step: StepReport): void => {
    if (step.numAsked === 0) return
    asked.inc(step.numAsked)
    offered.inc(step.offered)
    seconds.observe(step.draftMs / MS_PER_SECOND)
    price.set(step.price)
    drafts.inc(step.trees)
    draftTokens.inc(step.drafted)
    accepted.inc(step.accepted)
    for (const node of step.nodes) {
      value.inc(node.value)
      if (node.isAccepted) perPosition.inc({ position: String(node.depth - 1) })
      for (const source of node.sources) {
        nodes.inc({ source, depth: node.depth, accepted: String(node.isAccepted) })
      }
    }
  }
}
