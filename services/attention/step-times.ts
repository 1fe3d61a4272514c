// Where a step's time goes on its attention worker. A few reads of the clock per layer, whether anybody looks or not.
//
// Invariants
//   T1  Attention, expert wait and head do not overlap: their sum is at most the step's time.
//   T2  A layer's values are of its slowest micro-batch where it has two: their waits may overlap the other's attention.

import type { Clock } from '../../lib/actor/actor.js'
import { packF32, type WireTensor } from '../../lib/wire/tensor.js'

const COLUMNS = 4 // start, attention, expert wait, experts' compute

/** Milliseconds of a step. */
export interface StepTotals {
  readonly computeMs: number // all of it
  readonly attentionMs: number // embedding, attention and gates
  readonly expertWaitMs: number // from a layer's dispatch until its sums are there, unless attention worked meanwhile
  readonly expertComputeMs: number // of it: what the slowest worker of each layer computed
  readonly headMs: number // LM head and sampling
}

export interface StepTimes {
  /** Milliseconds since the step began. */
  nowMs(): number
  attention(layer: number, startMs: number): void
  /** The experts of a layer are done that were asked at `startMs`; the slowest worker took `computeMs`. */
  experts(layer: number, startMs: number, computeMs: number): void
  /** The layers took so long; for so much of it others were let in. */
  layersDone(tookMs: number, turnedMs: number): void
  totals(): StepTotals
  /** f32 [layers, 4]: start of the layer since the step's, attention, expert wait, the slowest worker's compute. */
  perLayer(): WireTensor
}

export function createStepTimes(clock: Clock, numLayers: number): StepTimes {
  const beganMs = clock.monotonicMs()
  const nowMs = (): number => clock.monotonicMs() - beganMs
  const layers = new Float32Array(numLayers * COLUMNS)
  let attentionMs = 0
  let forwardMs = 0 // without what others took
  let endMs = 0 // of the layers

  return {
    nowMs,
    attention: (layer, startMs) => {
      const tookMs = nowMs() - startMs
      const at = layer * COLUMNS
      if (layers[at + 1] === 0) layers[at] = startMs
      layers[at + 1] = Math.max(layers[at + 1]!, tookMs)
      attentionMs += tookMs
    },
    experts: (layer, startMs, computeMs) => {
      const at = layer * COLUMNS
      layers[at + 2] = Math.max(layers[at + 2]!, nowMs() - startMs)
      layers[at + 3] = Math.max(layers[at + 3]!, computeMs)
    },
    layersDone: (tookMs, turnedMs) => {
      endMs = nowMs()
      forwardMs = tookMs - turnedMs
    },
    totals: () => {
      const computeMs = nowMs()
      let expertComputeMs = 0
      for (let at = 3; at < layers.length; at += COLUMNS) expertComputeMs += layers[at]!
      const expertWaitMs = Math.max(0, forwardMs - attentionMs)
      const headMs = endMs === 0 ? 0 : computeMs - endMs
      return {
        computeMs,
        attentionMs,
        expertWaitMs,
        expertComputeMs: Math.min(expertComputeMs, expertWaitMs),
        headMs,
      }
    },
    perLayer: () => packF32(layers, [numLayers, COLUMNS]),
  }
}
