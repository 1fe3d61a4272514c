// A generation as the command line sees it, through whichever door it came.

export interface GenerationRequest {
  readonly input:
    | { readonly kind: 'text'; readonly text: string }
    | { readonly kind: 'tokens'; readonly tokens: readonly number[] }
    | { readonly kind: 'chat'; readonly text: string } // one user message
  readonly sampling: GenerationSampling
  readonly n: number
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

export interface GenerationStats {
  readonly ttftMs: number
  readonly tpotMs: number
  readonly tokensPerSecond: number
  readonly steps: number
  readonly drafted: number
  readonly accepted: number
  readonly acceptanceLength: number
}

export type GenerationEvent =
  | { readonly type: 'accepted'; readonly fingerprint: string }
  | { readonly type: 'chunk'; readonly choice: number; readonly tokenIds: readonly number[]; readonly text: string }
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
}

const NO_USAGE: GenerationUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }
const NO_STATS: GenerationStats = {
  ttftMs: 0,
  tpotMs: 0,
  tokensPerSecond: 0,
  steps: 0,
  drafted: 0,
  accepted: 0,
  acceptanceLength: 0,
}

/** Gathers a request's events; each chunk is also handed to `onChunk` as it comes. */
export async function collectGeneration(
  events: AsyncIterable<GenerationEvent>,
  onChunk: (chunk: Extract<GenerationEvent, { type: 'chunk' }>) => void,
): Promise<GenerationResult> {
  const choices: Choice[] = []
  const ends: { readonly usage: GenerationUsage; readonly stats: GenerationStats }[] = []
  let fingerprint = ''
  const choiceAt = (index: number): Choice => (choices[index] ??= { text: '', tokenIds: [], finishReason: '' })
  for await (const event of events) {
    if (event.type === 'accepted') fingerprint = event.fingerprint
    else if (event.type === 'chunk') {
      const choice = choiceAt(event.choice)
      choice.text += event.text
      choice.tokenIds.push(...event.tokenIds)
      onChunk(event)
    } else {
      choiceAt(event.choice).finishReason = event.finishReason
      ends.push(event)
    }
  }
  const completionTokens = choices.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
  const usage = { ...(ends[0]?.usage ?? NO_USAGE), completionTokens }
  const [first = NO_STATS, ...others] = ends.map(({ stats }) => stats)
  return { choices, usage, fingerprint, stats: others.reduce(mergeStats, first) }
}

/** Over all choices: counts and rates add up, latencies are the slowest choice's. */
function mergeStats(all: GenerationStats, one: GenerationStats): GenerationStats {
  const steps = all.steps + one.steps
  const accepted = all.accepted + one.accepted
  return {
    ttftMs: Math.max(all.ttftMs, one.ttftMs),
    tpotMs: Math.max(all.tpotMs, one.tpotMs),
    tokensPerSecond: all.tokensPerSecond + one.tokensPerSecond,
    steps,
    drafted: all.drafted + one.drafted,
    accepted,
    acceptanceLength: steps === 0 ? 0 : (all.acceptanceLength * all.steps + one.acceptanceLength * one.steps) / steps,
  }
}
