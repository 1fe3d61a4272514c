// What a step costs on one kind of attention worker, learned while it runs. The scheduler sizes prefill chunks by it,
// speculation prices its nodes by it. It decides when work is done, never which tokens come out (I1).
//
// Invariants
//   C1  A larger step is never predicted to take less time (F1, and every term grows with the step).
//   C2  An error is that of a prediction made before the step ran.
//
// Terms: a constant; sequences (each attends on its own); rows, and rows beyond two bends (bound by memory below, by
// arithmetic above); sampled rows, and those drawn with temperature; KV slots read; distinct experts loaded; and what it
// costs that the workers slept while drafts were waited for.

import { createFit, sizeClass, type FitState } from './cost-fit.js'
import { createExpertSpread, type ExpertShape, type SpreadState } from './expert-spread.js'
import { createErrorWindow, type ErrorSummary } from './prediction-error.js'
import type { StepShape } from './step-shape.js'

export const COST_TERMS = [
  'step',
  'sequence',
  'row',
  'rowAbove8',
  'rowAbove32',
  'sampledRow',
  'drawnRow',
  'contextSlots1000',
  'distinctExpert',
  'afterDraft',
] as const

const KNOWN_AFTER = 8 // steps

export interface FinishedStep {
  readonly shape: StepShape
  readonly predictedMs: number // before it ran (C2)
  readonly durationMs: number
  readonly distinctExperts?: number | undefined // (layer, expert) pairs, where the worker reports them
}

export interface CostModelState {
  readonly fit: FitState
  readonly spread: SpreadState
}

export interface CostSummary {
  readonly error: ErrorSummary
  readonly baseline: ErrorSummary // of saying what the last step of this size took
  readonly terms: Readonly<Record<(typeof COST_TERMS)[number], number>> // ms each
  readonly expertIndependence: number
}

export interface CostModel {
  /** Milliseconds; 0 while nothing is known. */
  predict(shape: StepShape): number
  observe(step: FinishedStep): void
  /** Whether steps of different sizes were seen, so that a prediction means something. */
  readonly isKnown: boolean
  summary(): CostSummary
  snapshot(): CostModelState
}

export function createCostModel(experts: ExpertShape, state?: CostModelState): CostModel {
  const fit = createFit(COST_TERMS.length, state?.fit)
  const spread = createExpertSpread(experts, state?.spread)
  const error = createErrorWindow()
  const baseline = createErrorWindow()
  const lastMs = new Map<number, number>() // by class of size

  const isKnown = (): boolean => fit.numObserved >= KNOWN_AFTER && fit.numClasses > 1
  const predict = (shape: StepShape): number => fit.predict(termsOf(shape, spread.expected(shape.rows)))

  const judge = ({ shape, predictedMs, durationMs }: FinishedStep): void => {
    if (fit.numObserved < KNOWN_AFTER) return
    error.add(predictedMs, durationMs)
    const kind = sizeClass(shape.rows) * 16 + sizeClass(shape.sequences)
    const last = lastMs.get(kind)
    if (last !== undefined) baseline.add(last, durationMs)
    lastMs.set(kind, durationMs)
  }

  return {
    predict,
    observe: (step) => {
      const { shape, durationMs, distinctExperts } = step
      if (shape.rows === 0) return
      judge(step)
      if (distinctExperts !== undefined) spread.observe(shape.rows, distinctExperts)
      fit.observe(termsOf(shape, distinctExperts ?? spread.expected(shape.rows)), durationMs, shape.rows)
    },
    get isKnown() {
      return isKnown()
    },
    summary: () => ({
      error: error.summary(),
      baseline: baseline.summary(),
      // COST_TERMS names exactly the terms that `termsOf` fills
      terms: Object.fromEntries(COST_TERMS.map((name, i) => [name, fit.coefficients[i]])) as CostSummary['terms'],
      expertIndependence: spread.independence,
    }),
    snapshot: () => ({ fit: fit.snapshot(), spread: spread.snapshot() }),
  }
}

function termsOf(shape: StepShape, distinctExperts: number): number[] {
  const { sequences, rows, sampled, drawn, contextSlots, afterDraft } = shape
  const bends = [Math.max(0, rows - 8), Math.max(0, rows - 32)]
  return [1, sequences, rows, ...bends, sampled, drawn, contextSlots / 1000, distinctExperts, afterDraft]
}
