// One of the two clusters that a means is judged by.

import type { ModelFacts } from '../peers/checkpoints.js'
import { startOurs, type Ours } from '../peers/ours.js'

/** What the two sides of a comparison have in common. */
export interface Setup {
  readonly model: ModelFacts
  readonly threads: number
}

export interface Side {
  /** The cluster that serves this side's requests, started when it is first asked for. */
  running(): Promise<Ours>
  /** Starts another one of the same kind; the caller stops it. */
  start(): Promise<Ours>
  stop(): Promise<void>
}

/** Costs that one side's router has learned must not steer the other's. */
const COMMON = ['--cost-model-file', 'off']

export function createSide({ model, threads }: Setup, flags: readonly string[]): Side {
  const start = (): Promise<Ours> =>
    startOurs({ model: model.folder, weights: 'int8', threads, flags: [...COMMON, ...flags] })
  let running: Promise<Ours> | undefined
  return {
    start,
    running: () => (running ??= start()),
    stop: async () => {
      await (await running)?.stop()
    },
  }
}
