// What the cluster's status says of the cost model.

import type { CostSummary } from './cost-model.js'
import type { StepCostStatus } from './engine.js'

/** A summary as JSON carries it: what is not known yet is null. */
export function describeCost(summary: CostSummary | undefined): StepCostStatus | undefined {
  if (summary === undefined) return undefined
  const known = (value: number): number | null => (Number.isNaN(value) ? null : value)
  const { error, baseline, terms } = summary
  return {
    predictions: error.count,
    errorMedian: known(error.median),
    errorP90: known(error.p90),
    baselineErrorMedian: known(baseline.median),
    terms,
  }
}
