// What a step holds that costs time, known before it runs: what the cost model reads and the scheduler adds up.

import { isDecoding, type Rows } from './sequence.js'

export interface StepShape {
  readonly sequences: number
  readonly decoding: number // of these, the ones that decode
  readonly rows: number
  readonly sampled: number // rows at which a token is sampled
  readonly drawn: number // of these, the ones that are sampled with temperature
  readonly contextSlots: number // KV slots that the rows attend to, summed
  readonly afterDraft: number // 1: drafts were waited for, and the workers' threads went to sleep meanwhile; 0
}

export const EMPTY_STEP: StepShape = {
  sequences: 0,
  decoding: 0,
  rows: 0,
  sampled: 0,
  drawn: 0,
  contextSlots: 0,
  afterDraft: 0,
}

/** Rows that follow `base` committed tokens, each attending to all before it; a tree is counted like a chain. */
const contextOf = (base: number, rows: number): number => rows * (base + (rows + 1) / 2)

/** A prefill chunk of so many rows, before its end. */
export const chunkShape = (base: number, rows: number): StepShape => ({
  ...EMPTY_STEP,
  sequences: 1,
  rows,
  contextSlots: contextOf(base, rows),
})

export function shapeOf(planned: readonly Rows[]): StepShape {
  const sum = { ...EMPTY_STEP, sequences: planned.length }
  for (const { sequence, tree, sampled } of planned) {
    const { length } = tree.tokens
    sum.rows += length
    sum.sampled += sampled.length
    sum.contextSlots += contextOf(sequence.base, length)
    if (isDecoding(sequence)) sum.decoding += 1
    if (sequence.sampling.temperature > 0) sum.drawn += sampled.length
  }
  return sum
}

export const addShapes = (a: StepShape, b: StepShape): StepShape => ({
  sequences: a.sequences + b.sequences,
  decoding: a.decoding + b.decoding,
  rows: a.rows + b.rows,
  sampled: a.sampled + b.sampled,
  drawn: a.drawn + b.drawn,
  contextSlots: a.contextSlots + b.contextSlots,
  afterDraft: Math.max(a.afterDraft, b.afterDraft),
})

/** The step with so many drafted nodes more, which are like the rows that its decoding sequences have. */
export function withNodes(shape: StepShape, nodes: number): StepShape {
  const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)
  return {
    ...shape,
    rows: shape.rows + nodes,
    sampled: shape.sampled + nodes,
    drawn: shape.drawn + nodes * share(shape.drawn, shape.sampled),
    contextSlots: shape.contextSlots + nodes * share(shape.contextSlots, shape.rows),
  }
}
