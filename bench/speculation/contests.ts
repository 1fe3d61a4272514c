// The comparisons on one stream: which clusters answer which prompts, and what is hoped for. Another one is another record.

import { combinationGoal, noiseGoal, predictionGoal, speedGoal, tauGoal, type Goal } from './goals.js'
import type { ContestResult } from './measure.js'

export interface Contest {
  readonly name: string
  readonly what: string
  readonly prompts: 'held-out' | 'copying'
  readonly temperature: number
  readonly sides: Readonly<Record<string, readonly string[]>>
  readonly baseline: string // one of them, which the others are compared with
  readonly goals: (result: ContestResult) => readonly Goal[]
}

const OFF = { off: ['--draft', 'off'] }
const AUTO = { auto: ['--draft', 'auto'] }
const SINGLES = ['prompt-lookup', 'suffix', 'ngram', 'medusa', 'eagle']

export const CONTESTS: readonly Contest[] = [
  {
    name: 'greedy',
    what: 'held-out prompts, temperature 0',
    prompts: 'held-out',
    temperature: 0,
    sides: { ...OFF, ...AUTO },
    baseline: 'off',
    goals: (result) => [speedGoal(result, 'auto', 2.5), tauGoal(result, 'auto', 3), predictionGoal(result, 'auto')],
  },
  {
    name: 'sampled',
    what: 'held-out prompts, temperature 0.8, a seed per prompt; `own noise`: `--draft-noise off`',
    prompts: 'held-out',
    temperature: 0.8,
    sides: { ...OFF, ...AUTO, 'own noise': ['--draft', 'auto', '--draft-noise', 'off'] },
    baseline: 'off',
    goals: (result) => [
      speedGoal(result, 'auto', 1.8),
      tauGoal(result, 'auto', 2.2),
      noiseGoal(result, 'auto', 'own noise'),
      predictionGoal(result, 'auto'),
    ],
  },
  {
    name: 'copying',
    what: 'a file and its beginning again, temperature 0; `lookup`: `--draft suffix,prompt-lookup`',
    prompts: 'copying',
    temperature: 0,
    sides: { ...OFF, lookup: ['--draft', 'suffix,prompt-lookup'] },
    baseline: 'off',
    goals: (result) => [speedGoal(result, 'lookup', 3.5), predictionGoal(result, 'lookup')],
  },
  {
    name: 'sources',
    what: 'held-out prompts, temperature 0, each source alone and all of them (`auto`)',
    prompts: 'held-out',
    temperature: 0,
    sides: { ...OFF, ...Object.fromEntries(SINGLES.map((source) => [source, ['--draft', source]])), ...AUTO },
    baseline: 'off',
    goals: (result) => [combinationGoal(result, 'auto')],
  },
  {
    name: 'ahead',
    what: 'held-out prompts, temperature 0; `not ahead`: `--draft-ahead off`',
    prompts: 'held-out',
    temperature: 0,
    sides: { ...AUTO, 'not ahead': ['--draft', 'auto', '--draft-ahead', 'off'] },
    baseline: 'auto',
    goals: () => [],
  },
]
