// What the measurements are held against.

import { formatMedian, formatNumber, formatSummary, median, ratios, summarise } from '../statistics.js'
import type { ContestResult, SideResult } from './measure.js'

export interface Goal {
  readonly what: string
  readonly wanted: string
  readonly found: string
  readonly isMet: boolean
}

export const NEVER_SLOWER = 0.97
const PREDICTED = 0.15

/** The medians' goal: at least `least`, with the spread that `format` shows. */
export const atLeast = (
  what: string,
  least: number,
  values: readonly number[],
  format: (values: readonly number[]) => string = (list) => formatSummary(summarise(list)),
): Goal => ({ what, wanted: `≥ ${least}`, found: format(values), isMet: median(values) >= least })

export function sideOf({ name, sides }: Pick<ContestResult, 'name' | 'sides'>, wanted: string): SideResult {
  const side = sides.find((candidate) => candidate.side === wanted)
  if (side === undefined) throw new Error(`${name}: want a side ${wanted}, found ${sides.map((s) => s.side).join()}`)
  return side
}

/** Per round: the side's tokens per second over the baseline's. */
export const speedUp = (result: ContestResult, side: string): number[] =>
  ratios(sideOf(result, side).speed, sideOf(result, result.baseline).speed)

export const speedGoal = (result: ContestResult, side: string, least: number): Goal =>
  atLeast(`${result.name}: tokens/s, ${side} / ${result.baseline}`, least, speedUp(result, side))

export const tauGoal = (result: ContestResult, side: string, least: number): Goal =>
  atLeast(`${result.name}: τ of ${side}`, least, sideOf(result, side).tau)

export function predictionGoal(result: ContestResult, side: string): Goal {
  const values = sideOf(result, side).predictionError
  const found = formatSummary(summarise(values))
  const what = `${result.name}: median error of the predicted step time, ${side}`
  return { what, wanted: `≤ ${PREDICTED}`, found, isMet: median(values) <= PREDICTED }
}

/** Fewer tokens per step where the drafter does not know the sampler's noise: else sharing it brings nothing. */
export function noiseGoal(result: ContestResult, shared: string, off: string): Goal {
  const [withNoise, without] = [shared, off].map((side) => median(sideOf(result, side).tau))
  return {
    what: `${result.name}: τ of ${off}`,
    wanted: `below ${shared}`,
    found: `${formatNumber(without ?? NaN)} against ${formatNumber(withNoise ?? NaN)}`,
    isMet: (without ?? NaN) < (withNoise ?? NaN),
  }
}

/** Against the fastest single source; the pairs are the same prompt in the same round. */
export function combinationGoal(result: ContestResult, all: string): Goal {
  const singles = result.sides.filter(({ side }) => side !== all && side !== result.baseline)
  const best = singles.reduce((fastest, side) => (median(side.speed) > median(fastest.speed) ? side : fastest))
  const pairs = ratios(sideOf(result, all).promptSpeed, best.promptSpeed)
  return atLeast(`${result.name}: tokens/s, ${all} / best single (${best.side})`, NEVER_SLOWER, pairs, formatMedian)
}
