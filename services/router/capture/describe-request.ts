// From a request that ended here to its record. With token ids the record says all that the answer is a function of.

import { TraceFlags } from '@opentelemetry/api'
import type { Checkpoint } from '../../../lib/model/checkpoint.js'
import {
  BLOCK_TOKENS,
  hashBlocks,
  hashTokens,
  RECORD_SCHEMA,
  type RequestRecord as TrafficRecord,
} from '../../../lib/traffic/request-record.js'
import type { ClusterError } from '../../../lib/errors.js'
import type { AcceptedRequest, RequestRecord } from '../requests.js'
import type { GenerateEvent } from '../engine.js'
import { expertFileName } from './expert-files.js'
import type { ValidRequest } from '../validate.js'

export interface Served {
  readonly router: string
  readonly model: string
  readonly eosTokenIds: readonly number[]
  /** What a fingerprint is made of, where it is this router's own. */
  readonly partsOf: (fingerprint: string) => TrafficRecord['fingerprintParts']
  readonly slowMs?: number | undefined // spans of requests that fail or take as long are kept
  readonly tokenizer: Pick<NonNullable<Checkpoint['tokenizer']>, 'decode'> | undefined
}

/** Everything there is to tell, text where it is wanted; `limitContent` takes away what may not go out. */
export function describeRequest(
  record: RequestRecord,
  { request, fingerprint, session }: AcceptedRequest,
  { withText, ...served }: Served & { readonly withText: boolean },
): TrafficRecord {
  const { timeline, log, sequences } = record
  const { prompt } = request
  const outputs = outputsOf(log.events, request.n, withText)
  const traceId = traceIdOf(record, served.slowMs)
  const fingerprintParts = served.partsOf(fingerprint)
  return {
    schema: RECORD_SCHEMA,
    id: record.id,
    arrivalUnixMs: timeline.arrivalUnixMs,
    endMs: timeline.nowMs(),
    model: served.model,
    fingerprint,
    ...(fingerprintParts !== undefined && { fingerprintParts }),
    router: served.router,
    ...(traceId !== undefined && { traceId }),
    ...(session !== undefined && { session }),
    content: withText ? 'text' : 'ids',
    prompt: {
      numTokens: prompt.length,
      cachedTokens:
        outputs.find(({ finished }) => finished)?.finished?.usage.cachedTokens ?? sequences[0]?.cachedTokens ?? 0,
      blockTokens: BLOCK_TOKENS,
      blockHashes: hashBlocks(prompt),
      ids: [...prompt],
      ...(withText && served.tokenizer && { text: served.tokenizer.decode(prompt) }),
    },
    params: paramsOf(request, served.eosTokenIds),
    choices: outputs.map((output, choice) => describeChoice(record, choice, output)),
    ...outcomeOf(record, log.error),
  }
}

/** Of a request whose spans are kept. */
function traceIdOf({ span, outcome, timeline }: RequestRecord, slowMs: number | undefined): string | undefined {
  if (span?.isRecording() !== true) return undefined
  const { traceId, traceFlags } = span.spanContext()
  const isChosen = (traceFlags & TraceFlags.SAMPLED) !== 0
  return isChosen || outcome === 'failed' || timeline.nowMs() >= (slowMs ?? 0) ? traceId : undefined
}

interface Output {
  readonly ids: number[]
  text: string | undefined
  finished: Extract<GenerateEvent, { kind: 'finished' }> | undefined
}

/** Per choice, in one pass: a long answer is as many events. */
function outputsOf(events: readonly GenerateEvent[], numChoices: number, withText: boolean): Output[] {
  const outputs = Array.from({ length: numChoices }, (): Output => ({
    ids: [],
    text: withText ? '' : undefined,
    finished: undefined,
  }))
  for (const event of events) {
    const output = event.kind === 'accepted' ? undefined : outputs[event.choice]
    if (output === undefined) continue
    if (event.kind === 'finished') output.finished = event
    if (event.kind !== 'chunk') continue
    for (const token of event.tokenIds) output.ids.push(token)
    if (output.text !== undefined) output.text += event.text
  }
  return outputs
}

function describeChoice(
  record: RequestRecord,
  choice: number,
  { ids, text, finished }: Output,
): TrafficRecord['choices'][number] {
  const { timeline, sequences } = record
  const replayedTokens = timeline.numUntimed[choice]
  const { steps = 0, drafted = 0, accepted = 0 } = sequences[choice]?.stats ?? {}
  return {
    numTokens: ids.length,
    hash: hashTokens(ids),
    ids,
    ...(text !== undefined && { text }),
    ...(finished !== undefined && { finishReason: finished.reason }),
    chunks: (timeline.chunks[choice] ?? []).map(([ms, count]): [number, number] => [ms, count]),
    ...(replayedTokens !== undefined && { replayedTokens }),
    steps,
    drafted,
    accepted,
    ...(sequences[choice]?.routes?.isEmpty === false && { routedExperts: expertFileName(record, choice) }),
  }
}

/** The ids that end the text are the model's, unless they are ignored, and the request's own. */
function paramsOf({ sampling, ...request }: ValidRequest, eosTokenIds: readonly number[]): TrafficRecord['params'] {
  const { logitBias, endTokenIds, seed, logprobs, ...rest } = sampling
  const ignoreEos = !eosTokenIds.every((token) => endTokenIds.includes(token))
  const stopTokenIds = ignoreEos ? [...endTokenIds] : endTokenIds.filter((token) => !eosTokenIds.includes(token))
  return {
    ...rest,
    ...(logitBias.length > 0 && { logitBias: Object.fromEntries(logitBias) }),
    maxTokens: request.maxTokens,
    ...(request.stop.length > 0 && { stop: [...request.stop] }),
    ...(stopTokenIds.length > 0 && { stopTokenIds }),
    ignoreEos,
    includeStop: request.includeStop,
    seed: seed.toString(),
    n: request.n,
    ...(logprobs >= 0 && { logprobs }),
  }
}

function outcomeOf(
  { outcome }: RequestRecord,
  error: ClusterError | undefined,
): Pick<TrafficRecord, 'outcome' | 'error'> {
  const reason = error?.details.reason
  const told = error && { error: { code: error.code, message: error.message, ...(reason !== undefined && { reason }) } }
  return { outcome: outcome === 'running' ? 'failed' : outcome, ...told }
}
