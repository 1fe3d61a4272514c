// From tokens to a client's events, for one choice: detokenise, watch for the end, append to the request's log.
//
// Invariants
//   O1  Every token is in exactly one chunk, in order; `offset` is its place in the choice.
//   O2  Text never holds half a character, nor the start of a stop string that may still be completed.
//   O3  Exactly one `finished` per choice, after its last chunk.

import type { Detokenizer } from '../../lib/model/detokenizer.js'
import type { TokenLogprobs } from '../../lib/sampling/params.js'
import type { ChoiceStats, GenerateEvent, StepTree, TokenLogprob } from './engine.js'
import type { ChoiceTimes } from './metrics/request-metrics.js'
import type { RequestLog } from './request-log.js'
import type { BareStepTree, Ending, SequenceEmitter, SequenceStats } from './sequence.js'
import type { StopChecker } from './stop-checker.js'

type ChunkEvent = Extract<GenerateEvent, { kind: 'chunk' }>

export interface EmitterOptions {
  readonly log: RequestLog
  readonly choice: number
  readonly promptTokens: number
  readonly maxTokens: number
  readonly endTokenIds: ReadonlySet<number>
  readonly includeStop: boolean
  readonly returnsTrees: boolean
  readonly detokenizer: Detokenizer | undefined
  readonly stopChecker: StopChecker | undefined
  readonly tokenText: (token: number) => { readonly text: string; readonly bytes: readonly number[] }
  readonly now: () => number // milliseconds, monotonic
  readonly startedMs: number // when the request arrived
  /** `sinceLastMs`: absent where the token before is of an earlier run. */
  readonly onToken: (numTokens: number, sinceLastMs: number | undefined, isFirst: boolean) => void
  readonly onFinished: (ending: Ending, times: ChoiceTimes | undefined) => void // absent: it ended before it was run here
  readonly onFailed: (error: unknown) => void
}

const runningTotals = (lengths: readonly number[]): number[] => {
  let total = 0
  return lengths.map((length) => (total += length))
}

export function createEmitter(options: EmitterOptions): SequenceEmitter {
  const { log, choice, detokenizer, stopChecker, startedMs } = options
  let firstMs = 0
  let lastMs = startedMs
  let numTokens = 0
  let numReplayed = 0 // of an earlier run
  let isClosed = false

  const textOf = (token: number): { text: string; stop: string | undefined } => {
    if (detokenizer === undefined) return { text: '', stop: undefined }
    const isHidden = options.endTokenIds.has(token) && !options.includeStop
    const delta = isHidden ? '' : detokenizer.push(token)
    if (stopChecker === undefined) return { text: delta, stop: undefined }
    const checked = stopChecker.push(delta)
    return { text: checked.text, stop: checked.stop }
  }

  const remainder = (): string => {
    const tail = detokenizer?.flush() ?? ''
    if (stopChecker === undefined) return tail
    const checked = stopChecker.push(tail)
    return checked.stop === undefined ? checked.text + stopChecker.flush() : checked.text
  }

  const named = ({ token, logprob }: { token: number; logprob: number }): TokenLogprob => ({
    token,
    logprob,
    ...options.tokenText(token),
  })

  /** `pieces`: the text that each token completes. */
  const chunk = (
    tokenIds: readonly number[],
    pieces: readonly string[],
    logprobs: readonly TokenLogprobs[],
  ): ChunkEvent => ({
    kind: 'chunk',
    choice,
    offset: numTokens - tokenIds.length,
    tokenIds,
    text: pieces.join(''),
    textEnds: runningTotals(pieces.map(({ length }) => length)),
    logprobs: logprobs.map((entry) => ({ ...named(entry), top: entry.top.map(named) })),
  })

  const endAfter = (token: number, stop: string | undefined): Ending | undefined => {
    if (options.endTokenIds.has(token)) return { reason: 'stop', stopReason: token }
    if (stop !== undefined) return { reason: 'stop', stopReason: stop }
    return numTokens >= options.maxTokens ? { reason: 'length' } : undefined
  }

  const withTexts = ({ nodes, ...rest }: BareStepTree): StepTree => ({
    ...rest,
    nodes: nodes.map((node) => ({ ...node, text: options.tokenText(node.token).text })),
  })

  const push: SequenceEmitter['push'] = (tokens, logprobs, tree) => {
    if (isClosed) return undefined
    const numBefore = numTokens
    const ending = take(tokens, logprobs, tree)
    const now = options.now()
    const isGoingOn = numReplayed > 0 && numBefore === numReplayed
    options.onToken(numTokens - numBefore, isGoingOn ? undefined : now - lastMs, numBefore === 0)
    if (firstMs === 0) firstMs = now
    lastMs = now
    return ending
  }

  const take: SequenceEmitter['push'] = (tokens, logprobs, tree) => {
    const taken: number[] = []
    const pieces: string[] = []
    let ending: Ending | undefined
    let isStopped = false
    for (const token of tokens) {
      const piece = textOf(token)
      taken.push(token)
      numTokens += 1
      pieces.push(piece.text)
      ending = endAfter(token, piece.stop)
      isStopped = piece.stop !== undefined
      if (ending !== undefined) break
    }
    if (ending !== undefined && !isStopped) pieces.push((pieces.pop() ?? '') + remainder())
    // The worker's log-probabilities come with the tokens they belong to; there are none where none were asked for.
    const event = chunk(taken, pieces, (logprobs as readonly TokenLogprobs[]).slice(0, taken.length))
    log.append(options.returnsTrees && tree !== undefined ? { ...event, tree: withTexts(tree) } : event)
    return ending
  }

  const timesOf = ({ admittedMs = firstMs }: SequenceStats): ChoiceTimes => ({
    queueMs: admittedMs - startedMs,
    prefillMs: firstMs - admittedMs,
    decodeMs: lastMs - firstMs,
    numTokens: numTokens - numReplayed,
  })

  const statsOf = ({ steps, drafted, accepted, ...drafts }: SequenceStats): ChoiceStats => {
    const decodeMs = lastMs - firstMs
    const decodeSteps = Math.max(1, steps)
    return {
      ttftMs: Math.max(0, firstMs - startedMs),
      tpotMs: numTokens - numReplayed > 1 ? decodeMs / (numTokens - numReplayed - 1) : 0,
      tokensPerSecond: lastMs > startedMs ? ((numTokens - numReplayed) * 1000) / (lastMs - startedMs) : 0,
      steps,
      drafted,
      accepted,
      acceptanceLength: 1 + accepted / decodeSteps,
      draftSteps: drafts.draftSteps,
      offered: drafts.offered,
      draftMs: drafts.draftMs,
      meanPrice: drafts.priceSum / Math.max(1, drafts.draftSteps),
    }
  }

  return {
    push,
    replay: (tokens) => {
      const ending = take(tokens, [])
      numReplayed = numTokens
      return ending
    },
    detach: () => {
      isClosed = true
    },
    finish: (ending, stats, cachedTokens) => {
      if (isClosed) return
      isClosed = true
      const usage = { promptTokens: options.promptTokens, cachedTokens, completionTokens: numTokens }
      log.append({
        kind: 'finished',
        choice,
        reason: ending.reason,
        stopReason: ending.stopReason,
        usage,
        stats: statsOf(stats),
      })
      options.onFinished(ending, firstMs === 0 ? undefined : timesOf(stats))
    },
    fail: (error) => {
      if (isClosed) return
      isClosed = true
      options.onFailed(error)
    },
    get isClosed() {
      return isClosed
    },
    get isPaused() {
      return log.isPaused
    },
  }
}
