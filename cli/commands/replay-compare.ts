// `banyan replay compare`: two reports side by side, as a gate in CI.

import { compareRuns, TraceError, type ComparedFigure, type RunComparison } from '../../replay/src/index.js'
import type { Flags } from '../cluster-flags.js'
import { usageError } from '../report-error.js'
import { print, printJson, table } from '../terminal.js'

const SEED_BITS = 0xffff_ffffn

/** Exit 1 on a regression, 2 where a folder cannot be used. */
export async function replayCompare(a: string, b: string, flags: Flags): Promise<number> {
  const bound = parseBound(String(flags.bound))
  const seed = typeof flags.seed === 'bigint' ? Number(flags.seed & SEED_BITS) : undefined
  const comparison = await compareRuns(a, b, { bound, ...(seed !== undefined && { seed }) }).catch((error: unknown) => {
    throw error instanceof TraceError ? usageError(error.message) : error
  })
  if (flags.json === true) printJson(comparison)
  else print(describe(comparison))
  return comparison.hasRegression ? 1 : 0
}

/** `5%`, `5` or `0.05`. */
export function parseBound(text: string): number {
  const [, digits, percent] = /^(\d+(?:\.\d+)?|\.\d+)(%?)$/.exec(text.trim()) ?? []
  const value = Number(digits)
  if (digits === undefined || !Number.isFinite(value))
    throw usageError(`--bound: want a percentage as in 5% or 0.05, found ${JSON.stringify(text)}`)
  return percent === '%' || value >= 1 ? value / 100 : value
}

function describe({ bound, figures, totals, hasRegression, rounds }: RunComparison): string {
  const rows = figures.map((figure) => [
    figure.metric,
    figure.statistic,
    number(figure.a, figure),
    number(figure.b, figure),
    change(figure),
    figure.verdict === 'same' ? '' : figure.verdict,
  ])
  const sums = totals.map(({ metric, a, b }) => [metric, 'total', a.toFixed(2), b.toFixed(2), percent(b / a - 1), ''])
  return [
    table([['METRIC', 'OF', 'A', 'B', 'B AGAINST A [95 %]', ''], ...rows, ...sums]),
    '',
    `Rule: a regression is called where the whole 95 % interval (block bootstrap in order of sending, ${rounds} rounds) is worse than A by more than ${percent(bound, '')}; totals are shown, not judged.`,
    ...(figures.some(({ verdict }) => verdict === 'undecided')
      ? ['Undecided: where A has a 0 and B has not, no ratio tells how much worse B is.']
      : []),
    hasRegression ? 'Regression.' : 'No regression.',
  ].join('\n')
}

const isShare = ({ statistic }: ComparedFigure): boolean => statistic === 'share'

const number = (value: number, figure: ComparedFigure): string =>
  isShare(figure) ? `${(value * 100).toFixed(1)}%` : `${value.toFixed(2)} ${figure.unit}`

const percent = (share: number, plus = '+'): string =>
  Number.isFinite(share) ? `${share > 0 ? plus : ''}${(share * 100).toFixed(1)}%` : '?'

function change(figure: ComparedFigure): string {
  const base = isShare(figure) ? 0 : 1
  const [middle, low, high] = [figure.change, figure.low, figure.high].map((value) => percent(value - base))
  return `${middle} [${low}, ${high}]`
}
