// A generation as the command line sees it, through whichever door it came.

import type { StepTree } from '../../sdk/src/index.js'

export interface GenerationRequest {
  readonly input:
    | { readonly kind: 'text'; readonly text: string }
    | { readonly kind: 'tokens'; readonly tokens: readonly number[] }
    | { readonly kind: 'chat'; readonly text: string } // one user message
  readonly sampling: GenerationSampling
  readonly n: number
  readonly returnTrees?: boolean
}

/** Absent fields take the model's own defaults. */
export interface GenerationSampling {
  readonly maxTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly minP?: number
  readonly seed?: bigint
  readonly stop?: readonly string[]
  readonly ignoreEos?: boolean
}

export interface GenerationUsage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
}

export interface GenerationTimes {
  readonly ttftMs: number
  readonly tpotMs: number
  readonly tokensPerSecond: number
}

/** What only the server knows. */
export interface GenerationSteps {
  readonly steps: number
  readonly drafted: number
  readonly accepted: number
  readonly acceptanceLength: number
  readonly draftSteps: number // for which drafts were asked
  readonly offered: number // nodes that were proposed; those drafted paid
  readonly draftMs: number // waited for drafts
  readonly meanPrice: number // the least value at which a node paid, mean over these steps
}

export type GenerationStats = GenerationTimes & (GenerationSteps | Partial<Record<keyof GenerationSteps, never>>)

export type GenerationEvent =
  | { readonly type: 'accepted'; readonly fingerprint: string }
  | {
      readonly type: 'chunk'
      readonly choice: number
      readonly tokenIds: readonly number[]
      readonly text: string
      readonly tree?: StepTree // of the step that gave the tokens, where it was asked for
    }
  | {
      readonly type: 'finished'
      readonly choice: number
      readonly finishReason: string
      readonly usage: GenerationUsage
      readonly stats: GenerationStats
    }

export interface GenerationResult {
  readonly choices: readonly {
    readonly text: string
    readonly tokenIds: readonly number[]
    readonly finishReason: string
    readonly trees?: readonly StepTree[] // one per step
  }[]
  readonly usage: GenerationUsage
  readonly fingerprint: string
  readonly stats: GenerationStats
}

/** A door: where requests go and events come from. Failures are thrown as a ClusterError. */
export interface GenerationDoor {
  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent>
  close(): void
}

interface Choice {
  text: string
  tokenIds: number[]
  finishReason: string
  trees?: StepTree[]
}

const NO_USAGE: GenerationUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }
const NO_TIMES: GenerationTimes = { ttftMs: 0, tpotMs: 0, tokensPerSecond: 0 }

export type GenerationChunk = Extract<GenerationEvent, { type: 'chunk' }>

/** Gathers a request's events; each chunk is also handed to `onChunk` as it comes. */
export async function collectGeneration(
  events: AsyncIterable<GenerationEvent>,
  onChunk: (chunk: GenerationChunk) => void,
  { withTrees = false } = {},
): Promise<GenerationResult> {
  const choices: Choice[] = []
  const ends: { readonly usage: GenerationUsage; readonly stats: GenerationStats }[] = []
  let fingerprint = ''
  const choiceAt = (index: number): Choice =>
    (choices[index] ??= { text: '', tokenIds: [], finishReason: '', ...(withTrees ? { trees: [] } : {}) })
  for await (const event of events) {
    if (event.type === 'accepted') fingerprint = event.fingerprint
    else if (event.type === 'chunk') {
      const choice = choiceAt(event.choice)
      choice.text += event.text
      choice.tokenIds.push(...event.tokenIds)
      if (event.tree !== undefined) choice.trees?.push(event.tree)
      onChunk(event)
    } else {
      choiceAt(event.choice).finishReason = event.finishReason
      ends.push(event)
    }
  }
  const completionTokens = choices.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
  const usage = { ...(ends[0]?.usage ?? NO_USAGE), completionTokens }
  const [first = NO_TIMES, ...others] = ends.map(({ stats }) => stats)
  return { choices, usage, fingerprint, stats: others.reduce(mergeStats, first) }
}

/** Over all choices: counts and rates add up, latencies are the slowest choice's. Steps are told of all, or absent. */
function mergeStats(all: GenerationStats, one: GenerationStats): GenerationStats {
  const times = {
    ttftMs: Math.max(all.ttftMs, one.ttftMs),
    tpotMs: Math.max(all.tpotMs, one.tpotMs),
    tokensPerSecond: all.tokensPerSecond + one.tokensPerSecond,
  }
  return all.steps === undefined || one.steps === undefined ? times : { ...times, ...mergeSteps(all, one) }
}

function mergeSteps(all: GenerationSteps, one: GenerationSteps): GenerationSteps {
  const steps = all.steps + one.steps
  const draftSteps = all.draftSteps + one.draftSteps
  return {
    steps,
    drafted: all.drafted + one.drafted,
    accepted: all.accepted + one.accepted,
    draftSteps,
    offered: all.offered + one.offered,
    draftMs: all.draftMs + one.draftMs,
    meanPrice: draftSteps === 0 ? 0 : (all.meanPrice * all.draftSteps + one.meanPrice * one.draftSteps) / draftSteps,
    acceptanceLength: steps === 0 ? 0 : (all.acceptanceLength * all.steps + one.acceptanceLength * one.steps) / steps,
  }
}
