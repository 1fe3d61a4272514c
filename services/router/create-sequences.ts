// The sequences of a request, one per choice, from its beginning or from the tokens of an earlier run.

import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { createDetokenizer } from '../../lib/model/detokenizer.js'
import { createEmitter } from './emitter.js'
import type { ChoiceTimes } from './metrics/request-metrics.js'
import type { RequestRecord } from './requests.js'
import { noStats, type Ending, type Sequence } from './sequence.js'
import type { RoutedExperts } from './routed-experts.js'
import { createStopChecker } from './stop-checker.js'
import type { ValidRequest } from './validate.js'

export interface SequenceMaker {
  readonly checkpoint: Checkpoint
  readonly idPrefix: string // of this incarnation of the router
  readonly mayDraft: boolean
  readonly now: () => number // milliseconds, monotonic
  readonly keepRoutes?: (() => RoutedExperts) | undefined // for files beside the records
  readonly onToken: (
    record: RequestRecord,
    numTokens: number,
    sinceLastMs: number | undefined,
    isFirst: boolean,
  ) => void
  readonly onFinished: (record: RequestRecord, ended: EndedChoice) => void
  readonly onFailed: (record: RequestRecord, error: unknown, tookMs: number) => void
}

export interface EndedChoice {
  readonly ending: Ending
  readonly times: ChoiceTimes | undefined // absent: it ended before it was run here
  readonly tookMs: number // since the request arrived
}

/** A sequence, and why it ended already in its earlier run, if it did. */
export interface MadeSequence {
  readonly sequence: Sequence
  readonly ending: Ending | undefined
}

/** Log-probabilities and trees are not journaled: with them, tokens are computed again (and are the same, I1). */
export const keepsTokens = ({ sampling, returnsTrees }: ValidRequest): boolean => sampling.logprobs < 0 && !returnsTrees

export function createSequences(
  maker: SequenceMaker,
  record: RequestRecord,
  request: ValidRequest,
  outputs: readonly (readonly number[])[] = [],
): MadeSequence[] {
  return Array.from({ length: request.n }, (_, choice) => {
    const output = keepsTokens(request) ? (outputs[choice] ?? []) : []
    return createSequence(maker, { record, request, choice, output })
  })
}

interface Made {
  readonly record: RequestRecord
  readonly request: ValidRequest
  readonly choice: number
  readonly output: readonly number[]
}

function createSequence(maker: SequenceMaker, { record, request, choice, output }: Made): MadeSequence {
  const endTokenIds = new Set(request.sampling.endTokenIds)
  const { tokenizer } = maker.checkpoint
  const startedMs = record.timeline.beganMs
  const emitter = createEmitter({
    log: record.log,
    choice,
    promptTokens: request.prompt.length,
    maxTokens: request.maxTokens,
    endTokenIds,
    includeStop: request.includeStop,
    returnsTrees: request.returnsTrees,
    detokenizer: tokenizer && createDetokenizer(tokenizer),
    stopChecker: request.stop.length > 0 ? createStopChecker(request.stop, request.includeStop) : undefined,
    tokenText: (token) => ({
      text: tokenizer?.tokenText(token) ?? '',
      bytes: [...(tokenizer?.tokenBytes(token) ?? [])],
    }),
    now: maker.now,
    startedMs,
    onToken: (numTokens, sinceLastMs, isFirst) => maker.onToken(record, numTokens, sinceLastMs, isFirst),
    onFinished: (ending, times) => maker.onFinished(record, { ending, times, tookMs: maker.now() - startedMs }),
    onFailed: (error) => maker.onFailed(record, error, maker.now() - startedMs),
  })
  const sequence: Sequence = {
    id: `${maker.idPrefix}.${record.serial}.${choice}`,
    choice,
    promptLength: request.prompt.length,
    sampling: request.sampling,
    limits: { maxTokens: request.maxTokens, endTokenIds },
    drafts: request.drafts && maker.mayDraft,
    tenant: record.tenant,
    priority: request.priority,
    waitsSinceMs: startedMs,
    returnsTrees: request.returnsTrees,
    traceparent: record.traceparent,
    startedMs,
    watch: {
      scheduled: record.timeline.scheduled,
      note: (event, attributes) => void record.span?.addEvent(event, attributes),
    },
    routes: maker.keepRoutes?.(),
    emitter,
    tokens: [...request.prompt, ...output],
    base: 0,
    epoch: 0,
    accepted: [],
    prefix: undefined,
    cachedTokens: 0,
    restarts: 0,
    draftedUpTo: 0,
    hidden: undefined,
    stats: noStats(),
  }
  return {
    sequence,
    ending: output.length === 0 ? undefined : record.timeline.givesAgain(() => emitter.replay(output)),
  }
}
