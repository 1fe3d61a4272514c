// One step through the layers: embed → per layer (attention, experts) → the rows that are sampled. A prefill chunk is a
// chain, decoding a tree of one node, speculation a tree: one path for all three.
//
// Rows may go in two micro-batches that take turns: while experts elsewhere compute one, attention computes the other.
// That pays where experts have cores of their own; on shared ones it only reads their weights twice (bench/ablations).
// A layer's attention always runs for the first before the second, so a sequence may lie in both.

import { concat } from '../../lib/compute/concat.js'
import type { AttentionEngine, StepBatch, StepRows } from '../../lib/decode/attention-engine.js'
import type { DispatchContext } from './dispatch-context.js'
import { dispatch } from './dispatch.js'
import { attentionSpan, type SequenceState } from './sequence-state.js'
import type { StepTimes } from './step-times.js'

/** How long runs may follow one another before messages (cancels, pings) are answered. */
const MAX_BUSY_MS = 5
/** Runs the tails of all sequences; returns the last hidden state [rows, hidden] before the final norm. */
export async function forward(
  engine: AttentionEngine,
  states: readonly SequenceState[],
  context: DispatchContext,
  times: StepTimes,
): Promise<Float32Array> {
  const startMs = times.nowMs()
  let turnedMs = 0
  const batches = engine.layOut(rowsOf(states), context.microBatches)
  const firstRows = batches.map((_, i) => batches.slice(0, i).reduce((sum, batch) => sum + batch.rows, 0))
  const experts = batches.map(() => Promise.resolve())
  const { clock } = context.system
  let turned = clock.monotonicMs()
  try {
    for (const index of engine.spec.layers.keys()) {
      for (const [i, batch] of batches.entries()) {
        await experts[i]
        experts[i] = runLayer({ index, batch, firstRow: firstRows[i]!, context, times })
        experts[i].catch(() => undefined) // awaited in its turn
      }
      if (clock.monotonicMs() - turned > MAX_BUSY_MS) {
        const leftMs = clock.monotonicMs()
        await clock.turn()
        turned = clock.monotonicMs()
        turnedMs += turned - leftMs
      }
    }
    await Promise.all(experts)
  } finally {
    await Promise.allSettled(experts) // nothing of a failed step runs on
  }
  times.layersDone(times.nowMs() - startMs, turnedMs)
  return concat(batches.map((batch) => batch.lastHidden()))
}

interface LayerRun {
  readonly index: number
  readonly batch: StepBatch
  readonly firstRow: number // of the batch, in the step
  readonly context: DispatchContext
  readonly times: StepTimes
}

/** Attention of a layer at once, its experts by the time the promise is kept. */
async function runLayer({ index, batch, firstRow, context, times }: LayerRun): Promise<void> {
  const span = context.openLayer?.(index)
  const startMs = times.nowMs()
  let askedMs = startMs
  let expertComputeMs = 0
  try {
    const { operands, routes } = batch.runLayer(index)
    times.attention(index, startMs)
    context.routes?.note(index, firstRow, routes)
    askedMs = times.nowMs()
    const inLayer = span === undefined ? context : { ...context, traceparent: span.traceparent, note: span.note }
    expertComputeMs = await dispatch(inLayer, index, operands, routes)
    times.experts(index, askedMs, expertComputeMs)
  } finally {
    span?.end({ attentionMs: askedMs - startMs, expertWaitMs: times.nowMs() - askedMs, expertComputeMs })
  }
}

const rowsOf = (states: readonly SequenceState[]): StepRows => ({
  spans: states.map(attentionSpan),
  tokens: states.flatMap(({ tail }) => [...tail.tokens]),
  positions: states.flatMap(({ tail }) => [...tail.positions]),
})
