// How many different experts a step of n rows touches, before it runs: D(n) = E (1 - (1 - k/E)^m) per layer for rows
// routed independently, with m = 1 + (n - 1) × independence, as rows of one text agree more often than that. The
// independence (1 - rho of the references) is fitted to what steps report, by a recursive Gauss-Newton step.

import type { ModelSpec } from '../../lib/model/spec.js'

export interface ExpertShape {
  readonly layers: number // with routed experts; 0: a dense model
  readonly experts: number // of one layer
  readonly topK: number
}

export interface SpreadState {
  readonly information: number // forgetting sum of slope²
  readonly evidence: number // forgetting sum of slope × value
}

export interface ExpertSpread {
  /** (layer, expert) pairs that so many rows are expected to touch; grows with the rows. */
  expected(rows: number): number
  /** What a step reported; a count that cannot be is left out. */
  observe(rows: number, distinct: number): void
  readonly independence: number // 0 … 1
  snapshot(): SpreadState
}

export function expertShapeOf(spec: ModelSpec): ExpertShape {
  const routed = spec.layers.map(({ ffn }) => ffn).filter(({ gate }) => gate !== undefined)
  return { layers: routed.length, experts: routed[0]?.experts.length ?? 0, topK: routed[0]?.gate?.topK ?? 0 }
}

const PRIOR = 0.54 // measured on a published model of 128 experts, top-8
const PRIOR_WEIGHT = 0.1
const FORGET = 0.995
const LEAST = 0.02

export function createExpertSpread(
  { layers, experts, topK }: ExpertShape,
  state: SpreadState = { information: PRIOR_WEIGHT, evidence: PRIOR_WEIGHT * PRIOR },
): ExpertSpread {
  let { information, evidence } = state
  const isDense = layers === 0 || experts === 0
  const logMiss = Math.log(Math.max(1e-9, 1 - topK / Math.max(1, experts)))
  const independence = (): number => Math.min(1, Math.max(LEAST, evidence / information))
  const missed = (rows: number): number => Math.exp(logMiss * (1 + (rows - 1) * independence()))
  const expected = (rows: number): number => (isDense || rows < 1 ? 0 : layers * experts * (1 - missed(rows)))

  return {
    expected,
    observe: (rows, distinct) => {
      if (isDense || rows < 2 || distinct < layers || distinct > layers * experts) return
      const guess = expected(rows)
      const slope = (layers * experts * -logMiss * (rows - 1) * missed(rows)) / guess // relative, as the error below
      information = information * FORGET + slope * slope
      evidence = evidence * FORGET + slope * ((distinct - guess) / guess + slope * independence())
    },
    get independence() {
      return independence()
    },
    snapshot: () => ({ information, evidence }),
  }
}
