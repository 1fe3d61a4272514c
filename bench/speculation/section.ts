// The section `speculation` of bench/RESULTS.md.

import { table } from '../report.js'
import { formatMedian, formatSummary, median, ratios, summarise } from '../statistics.js'
import type { Contest } from './contests.js'
import { sideOf, speedUp, type Goal } from './goals.js'
import type { ContestResult, SideResult } from './measure.js'
import { chance, gain, randomGoal, type RandomRow } from './random-text.js'

export interface Measured {
  readonly contest: Contest
  readonly result: ContestResult
}

export interface SpeculationResults {
  readonly contests: readonly Measured[]
  readonly random: readonly RandomRow[]
  readonly transport: string
  readonly rounds: number
  readonly pairs: number
  readonly numPrompts: number
  readonly numTokens: number
  readonly warmingSteps: number
}

export const goalsOf = ({ contests, random }: Pick<SpeculationResults, 'contests' | 'random'>): Goal[] => [
  ...contests.flatMap(({ contest, result }) => contest.goals(result)),
  ...random.map(randomGoal),
]

export function speculationSection(results: SpeculationResults, machineLine: string): string {
  const { contests, random, transport, rounds, numPrompts, numTokens, warmingSteps } = results
  return [
    '## Speculation',
    '',
    `\`npm run bench:speculation\`. ${machineLine} Demonstration model in int8, \`banyan up --transport ${transport}\`, asked over gRPC by a client on the same cores, one stream, ${numPrompts} prompts × ${numTokens} tokens, counted rounds: ${rounds}, after a warm-up of ${warmingSteps} steps per cluster. The clusters of a comparison stand side by side and answer each prompt in turn; all of them gave the same tokens to every prompt (the run fails otherwise). Median (minimum – maximum) over the rounds, or with its 95 % interval [low, high] over pairs (of one prompt, or of one draw of prompts).`,
    '',
    table(
      ['goal', 'wanted', 'found', ''],
      goalsOf(results).map(({ what, wanted, found, isMet }) => [what, wanted, found, isMet ? 'met' : 'missed']),
    ),
    '',
    ...(contests.length === 0 ? [] : contestLines(results)),
    ...(random.length === 0 ? [] : randomLines(results)),
    'Not measured: other models, drafting from earlier answers to the same or other prompts (every round is the first), typical acceptance, a draft model, GPUs, more than one machine.',
  ].join('\n')
}

function contestLines({ contests }: SpeculationResults): string[] {
  return [
    table(
      [
        '',
        'cluster',
        'tokens/s',
        'ratio',
        'ratio per prompt',
        'ratio with prefill',
        'τ',
        'step, ms',
        'step ratio',
        'prediction error',
      ],
      contests.flatMap(({ result }) => result.sides.map((side) => contestCells(result, side))),
    ),
    '',
    ...contests.map(({ contest, result }) => `- ${contest.name}: ${contest.what}. ${repetitionWords(result)}`),
    '',
    'tokens/s: of decoding, after the first chunk; the goals are of these. Ratios are to the first cluster of each comparison in the same round, per prompt those of single prompts. τ: tokens per step, steps of prefill included. Step: time from one step’s tokens to the next one’s, drafting and network included. Prediction error of step times: median of |predicted − measured| / measured over the last 512 steps of each round.',
    '',
  ]
}

function contestCells(result: ContestResult, side: SideResult): string[] {
  const baseline = sideOf(result, result.baseline)
  const rates = [side.speed, speedUp(result, side.side)]
  const others = [
    ratios(side.wholeSpeed, baseline.wholeSpeed),
    side.tau,
    side.stepMs,
    ratios(side.stepMs, baseline.stepMs),
    side.predictionError,
  ]
  const summary = (values: readonly number[]): string => formatSummary(summarise(values))
  const perPrompt = formatMedian(ratios(side.promptSpeed, baseline.promptSpeed))
  return [result.name, side.side, ...rates.map(summary), perPrompt, ...others.map(summary)]
}

/** What the answers are like: a small model soon repeats itself, and then everything that looks back drafts well. */
function repetitionWords({ repetition }: ContestResult): string {
  const share = (values: readonly number[]): string => `${Math.round(100 * mean(values))} %`
  const ofPrompt = share(repetition.map((one) => one.ofPrompt))
  return `Of the answers’ lines ${ofPrompt} stand in the prompt, another ${share(repetition.map((one) => one.ofItself))} earlier in the answer.`
}

const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length

function randomLines({ random, pairs }: SpeculationResults): string[] {
  return [
    `Prompts of random ids, all streams at once, asked of one cluster with drafts, without, and without again, ${pairs} times (each turn is first, second and last equally often; the prefix cache is off); tokens/s until all are answered. The last column is what chance does:`,
    '',
    table(
      ['transport', 'streams', 'temperature', 'auto', 'off', 'auto / off', 'off / off'],
      random.map((row) => [
        row.transport,
        `${row.streams}`,
        `${row.temperature}`,
        ...[row.auto, row.off].map((values) => `${Math.round(median(values))}`),
        formatMedian(gain(row)),
        formatMedian(chance(row)),
      ]),
    ),
    '',
  ]
}
