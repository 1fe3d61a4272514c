// A means' two clusters side by side, every workload in turn, round after round.
//
// Invariants
//   A1  A round's two values come one right after the other: their ratio is of the same minute of this machine.
//   A2  Both sides get the same requests, and flags that differ in the means alone.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { takeTurns } from '../in-turn.js'
import type { ModelFacts } from '../peers/checkpoints.js'
import { ratios } from '../statistics.js'
import type { Means } from './means.js'
import { createSide, type Setup } from './side.js'
import type { Measure, Workload } from './workloads.js'

export interface AblationRow extends Measure {
  readonly model: string
  readonly means: string
  readonly on: readonly number[] // one per round
  readonly off: readonly number[]
  readonly ratios: readonly number[] // on / off
}

export interface AblationOptions extends Setup {
  readonly rounds: number
  readonly numTokens: number
  readonly notify: (words: string) => void
}

const WHICH = ['on', 'off'] as const

/** No row where the model cannot be given any of the workloads. The first round warms up and is not counted. */
export async function measureMeans(means: Means, options: AblationOptions): Promise<AblationRow[]> {
  const { model, rounds, numTokens, notify } = options
  const taken = means.workloads
    .filter(({ needsText = false }) => !needsText || hasTokenizer(model))
    .map((workload) => ({ workload, on: [] as (readonly number[])[], off: [] as (readonly number[])[] })) // grow by round
  if (taken.length === 0) return []
  const sides = { on: createSide(options, means.on), off: createSide(options, means.off) }
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const values of taken) {
        await takeTurns(round, WHICH, async (which) => {
          const measured = await values.workload.run(sides[which], { model, round, numTokens })
          if (round > 0) values[which].push(measured)
        })
      }
      notify(`${model.name}, ${means.name}: round ${round} of ${rounds}`)
    }
  } finally {
    await Promise.all([sides.on.stop(), sides.off.stop()])
  }
  return taken.flatMap(({ workload, on, off }) =>
    toRows(workload, on, off).map((row) => ({ model: model.name, means: means.name, ...row })),
  )
}

const hasTokenizer = ({ folder }: ModelFacts): boolean => existsSync(join(folder, 'tokenizer.json'))

/** One row per measure of a workload, from the values of its rounds. */
export function toRows(
  { measures }: Pick<Workload, 'measures'>,
  on: readonly (readonly number[])[],
  off: readonly (readonly number[])[],
): Omit<AblationRow, 'model' | 'means'>[] {
  return measures.map((measure, i) => {
    const [ofOn, ofOff] = [on, off].map((rounds) => rounds.map((values) => values[i] ?? NaN))
    return { ...measure, on: ofOn ?? [], off: ofOff ?? [], ratios: ratios(ofOn ?? [], ofOff ?? []) }
  })
}
