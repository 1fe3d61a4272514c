// What is told of a step: its figures for the metrics, and its trees as events of its span.

import type { Span } from '@opentelemetry/api'
import type { AcceptedNodes } from './draft-account.js'
import type { WorkerTimes } from './forward.js'
import { reportNodes, type DraftedStep, type NodeReport } from './speculation.js'

export interface StepReport {
  readonly trees: number // sequences with drafted nodes
  readonly drafted: number
  readonly accepted: number
  readonly nodes: readonly NodeReport[]
  readonly numAsked: number // sequences for which a drafter was asked
  readonly offered: number // nodes that it proposed
  readonly price: number
  readonly draftMs: number // waited for it
  readonly sequences: number
  readonly rows: number
  readonly emitted: number
  readonly durationMs: number
  readonly times: StepTimes
}

/** Where a step's time went, in milliseconds: with `draftMs` these add up to `durationMs`. */
export interface StepTimes extends Omit<WorkerTimes, 'computeMs'> {
  readonly workerRestMs: number // on the attention worker, beside attention, experts and head
  readonly hopMs: number // to the attention worker and back, its queue included
  readonly routerMs: number // the router's own work, and tries that failed
}

interface Outcome {
  readonly emitted: number
  readonly durationMs: number
  readonly forwardMs: number // the try that succeeded
  readonly worker: WorkerTimes
}

export function describeStep(step: DraftedStep, accepted: AcceptedNodes, outcome: Outcome): StepReport {
  const { emitted, durationMs } = outcome
  const nodes = reportNodes(step, accepted)
  return {
    emitted,
    durationMs,
    times: timesOf(outcome, step.waitedMs),
    trees: step.drafts.size,
    sequences: step.rows.length,
    rows: step.shape.rows,
    drafted: nodes.length,
    accepted: nodes.filter(({ isAccepted }) => isAccepted).length,
    nodes,
    numAsked: step.asked.length,
    offered: [...step.choice.nodes.keys()].reduce((sum, { tree }) => sum + tree.tokens.length - 1, 0),
    price: step.choice.price,
    draftMs: step.waitedMs,
  }
}

function timesOf({ durationMs, forwardMs, worker }: Outcome, draftMs: number): StepTimes {
  const { computeMs, attentionMs, expertComputeMs, expertHopMs, headMs, layers } = worker
  return {
    attentionMs,
    expertComputeMs,
    expertHopMs,
    headMs,
    layers,
    workerRestMs: Math.max(0, computeMs - attentionMs - expertComputeMs - expertHopMs - headMs),
    hopMs: Math.max(0, forwardMs - computeMs),
    routerMs: Math.max(0, durationMs - draftMs - forwardMs),
  }
}

interface Described {
  readonly id: string
  readonly drafted: DraftedStep
  readonly withTokens: boolean
}

/** The step's figures, and each tree as an event. */
export function describeSpan(span: Span, report: StepReport, { id, drafted, withTokens }: Described): void {
  if (!span.isRecording()) return
  const { times } = report
  span.setAttributes({
    'banyan.step.id': id,
    'banyan.step.sequences': report.sequences,
    'banyan.step.rows': report.rows,
    'banyan.step.emitted': report.emitted,
    'banyan.step.drafted': report.drafted,
    'banyan.step.accepted': report.accepted,
    'banyan.draft_ms': report.draftMs,
    'banyan.attention_ms': times.attentionMs,
    'banyan.expert.compute_ms': times.expertComputeMs,
    'banyan.expert.hop_ms': times.expertHopMs,
    'banyan.head_ms': times.headMs,
    'banyan.hop_ms': times.hopMs,
    'banyan.router_ms': times.routerMs,
  })
  for (const { sequence, tree } of drafted.rows) {
    const draft = drafted.drafts.get(sequence)
    if (draft === undefined) continue
    span.addEvent('banyan.tree', {
      'banyan.sequence': sequence.id,
      'banyan.tree.nodes': tree.tokens.length,
      ...(withTokens && { 'banyan.tree.tokens': [...Array.from(tree.tokens)] }),
      'banyan.tree.parents': [...Array.from(tree.parents)],
      'banyan.tree.values': Array.from(draft.nodes, (node) => draft.proposal.values[node] ?? 0),
      'banyan.tree.accepted': [...sequence.accepted],
      'banyan.tree.price': report.price,
    })
  }
}
