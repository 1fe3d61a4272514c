// How much prefill a step may hold beside what decodes, so that a long prompt does not stall the streams.
//
// Invariants
//   A1  A step's predicted time stays below the target, but for a least chunk by which every prefill gets on.
//   A2  Where nothing decodes, nobody waits: the token budget alone bounds the step.
//   A3  A later target never gives a smaller chunk; sizes change no token (I1).

import type { CostModel } from './cost-model.js'
import { addShapes, chunkShape, type StepShape } from './step-shape.js'

const TARGET_STEPS = 8 // decode steps that a step with prefill may take
const LEAST_TARGET_MS = 50
const LEAST_CHUNK = 16
const CHUNK_MULTIPLE = 16 // whole KV blocks

/** Rows of a prompt whose first `base` tokens are done, at most `most`; 0: no more prefill in this step. */
export type ChunkSizer = (base: number, most: number) => number

export interface Pace {
  /** For one step, in which these rows decode. Each chunk that it grants counts for the next. */
  begin(decoding: StepShape): ChunkSizer
}

export const UNPACED: Pace = { begin: () => (_, most) => most }

/** Without a target of its own: eight times the plain decode step, at least 50 ms. */
export function createPace(model: Pick<CostModel, 'predict' | 'isKnown'>, stepTargetMs?: number): Pace {
  return {
    begin: (decoding) => {
      if (decoding.decoding === 0 || !model.isKnown) return UNPACED.begin(decoding)
      const targetMs = stepTargetMs ?? Math.max(LEAST_TARGET_MS, TARGET_STEPS * model.predict(decoding))
      let planned = decoding
      return (base, most) => {
        const fits = (rows: number): boolean => model.predict(addShapes(planned, chunkShape(base, rows))) <= targetMs
        const least = planned === decoding ? Math.min(LEAST_CHUNK, most) : 0
        const rows = Math.max(least, wholeBlocks(largest(most, fits), most))
        planned = addShapes(planned, chunkShape(base, rows))
        return rows
      }
    },
  }
}

const wholeBlocks = (rows: number, most: number): number => (rows === most ? rows : rows - (rows % CHUNK_MULTIPLE))

/** The largest whole number from 0 to `most` that fits; what is below one that fits, fits. */
function largest(most: number, fits: (rows: number) => boolean): number {
  let low = 0
  let high = most
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (fits(middle)) low = middle
    else high = middle - 1
  }
  return low
}
