// From nothing to the first token: both sides started anew each time, in turn; and what each then holds in memory.
// Files are in the page cache on both sides.

import type { Contender } from './contender.js'
import { startOurs, type OurOptions } from './ours.js'
import { drawPrompts } from './prompts.js'
import type { ResidentMemory } from './protocol.js'
import { startTheirs, type TheirOptions, type Theirs } from './theirs.js'

const PROMPT_TOKENS = 32

export interface ColdStart {
  readonly firstTokenMs: readonly number[] // one per round
  readonly memory: ResidentMemory // of the last round, after the first token
  readonly before: ResidentMemory // without this model: what the process takes for itself
  readonly weightBytes: number // in its own format, beyond those in `before`
}

export interface ColdStarts {
  readonly ours: ColdStart
  readonly theirs: ColdStart
}

export interface ColdStartOptions {
  readonly ours: OurOptions & { readonly weightBytes: number }
  readonly theirs: TheirOptions & { readonly weightBytes: number }
  /** A small checkpoint, so that what our process takes without weights can be told from outside. */
  readonly baseline: OurOptions & { readonly weightBytes: number; readonly vocabSize: number }
  readonly vocabSize: number
  readonly rounds: number
}

export async function measureColdStarts(options: ColdStartOptions): Promise<ColdStarts> {
  const { ours, theirs, baseline, rounds } = options
  const prompt = (vocabSize: number): number[][] => drawPrompts({ seed: 7, count: 1, length: PROMPT_TOKENS, vocabSize })
  const small = await startOnce(() => startOurs(baseline), prompt(baseline.vocabSize))
  const ourRuns: Run<Contender>[] = []
  const theirRuns: Run<Theirs>[] = []
  for (let round = 0; round < rounds; round++) {
    ourRuns.push(await startOnce(() => startOurs(ours), prompt(options.vocabSize)))
    theirRuns.push(await startOnce(() => startTheirs(theirs), prompt(options.vocabSize)))
  }
  const lastOurs = ourRuns.at(-1)
  const lastTheirs = theirRuns.at(-1)
  if (lastOurs === undefined || lastTheirs === undefined)
    throw new Error(`cold starts: want 1 round or more, found ${rounds}`)
  return {
    ours: {
      firstTokenMs: ourRuns.map((run) => run.firstTokenMs),
      memory: lastOurs.memory,
      before: small.memory,
      weightBytes: ours.weightBytes - baseline.weightBytes,
    },
    theirs: {
      firstTokenMs: theirRuns.map((run) => run.firstTokenMs),
      memory: lastTheirs.memory,
      before: lastTheirs.contender.loaded.before,
      weightBytes: theirs.weightBytes,
    },
  }
}

export interface Run<C> {
  readonly contender: C // stopped
  readonly firstTokenMs: number
  readonly memory: ResidentMemory
}

/** Starts, asks for one token, and stops again. */
export async function startOnce<C extends Contender>(
  start: () => Promise<C>,
  prompts: readonly (readonly number[])[],
): Promise<Run<C>> {
  const started = performance.now()
  const contender = await start()
  try {
    await contender.decode(prompts, 1)
    return { contender, firstTokenMs: performance.now() - started, memory: contender.memory() }
  } finally {
    await contender.stop()
  }
}

/** Resident bytes that the weights brought, over the weights' own bytes; NaN for the baseline itself. */
export function memoryRatio({ memory, before, weightBytes }: ColdStart, field: keyof ResidentMemory): number {
  return weightBytes > 0 ? (memory[field] - before[field]) / weightBytes : NaN
}
