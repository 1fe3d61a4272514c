// Between the public proto's messages (as proto-loader decodes them) and the engine's types.

import { ClusterError } from '../../../lib/errors.js'
import type {
  FinishReason,
  GenerateEvent,
  GenerateInput,
  HeldTokens,
  InferenceEngine,
  Priority,
  PromptInput,
  SamplingInput,
} from '../engine.js'
import { snakeCase } from '../snake-case.js'
import { treeFields } from '../tree-fields.js'
import { MAX_CHOICES } from '../validate.js'

/** GenerateRequest as proto-loader decodes it: absent optional fields are undefined, uint64 is a decimal string. */
export interface WireGenerateRequest {
  readonly request_id: string
  readonly model: string
  readonly input?: 'text' | 'tokens' | 'chat'
  readonly text?: string
  readonly tokens?: { readonly ids: readonly number[] }
  readonly chat?: { readonly messages: readonly { readonly role: string; readonly content: string }[] }
  readonly sampling: WireSampling | null
  readonly n: number
  readonly return_logprobs: boolean
  readonly top_logprobs: number
  readonly speculation?: boolean
  readonly return_trees: boolean
  readonly priority: string | number // a number that is no class stays one
}

export interface WireResumeRequest {
  readonly request_id: string
  readonly offsets: readonly number[]
}

interface WireSampling {
  readonly temperature?: number
  readonly top_p?: number
  readonly min_p?: number
  readonly repetition_penalty?: number
  readonly presence_penalty?: number
  readonly frequency_penalty?: number
  readonly top_k?: number
  readonly max_tokens?: number
  readonly min_tokens?: number
  readonly seed?: string
  readonly stop: readonly string[]
  readonly stop_token_ids: readonly number[]
  readonly ignore_eos: boolean
  readonly logit_bias: Readonly<Record<string, number>>
  readonly include_stop: boolean
}

const MAX_FLOAT_DIGITS = 9 // enough for every float32

function promptOf(request: WireGenerateRequest): PromptInput {
  switch (request.input) {
    case 'text':
      return { kind: 'text', text: request.text ?? '' }
    case 'tokens':
      return { kind: 'tokens', tokens: request.tokens?.ids ?? [] }
    case 'chat':
      return { kind: 'chat', messages: request.chat?.messages ?? [] }
    case undefined:
    default:
      throw new ClusterError('invalid_argument', 'input: want one of text, tokens or chat, got none', {
        details: { field: 'input' },
      })
  }
}

/** A float32 of the wire as the shortest decimal that means it: 0.9 travels as 0.899999976…, and is 0.9 over HTTP. */
function toDecimal(value: number): number {
  for (let digits = 1; digits < MAX_FLOAT_DIGITS; digits++) {
    const candidate = Number(value.toPrecision(digits))
    if (Math.fround(candidate) === value) return candidate
  }
  return value
}

const decimal = (value: number | undefined): number | undefined => (value === undefined ? undefined : toDecimal(value))

function samplingOf(sampling: WireSampling | null): SamplingInput {
  if (sampling === null) return {}
  const bias = Object.entries(sampling.logit_bias).map(([token, value]): [number, number] => [
    Number(token),
    toDecimal(value),
  ])
  return {
    temperature: decimal(sampling.temperature),
    topP: decimal(sampling.top_p),
    minP: decimal(sampling.min_p),
    repetitionPenalty: decimal(sampling.repetition_penalty),
    presencePenalty: decimal(sampling.presence_penalty),
    frequencyPenalty: decimal(sampling.frequency_penalty),
    topK: sampling.top_k,
    maxTokens: sampling.max_tokens,
    minTokens: sampling.min_tokens,
    seed: sampling.seed === undefined ? undefined : BigInt(sampling.seed),
    stop: sampling.stop,
    stopTokenIds: sampling.stop_token_ids,
    ignoreEos: sampling.ignore_eos,
    logitBias: bias.length === 0 ? undefined : new Map(bias),
    includeStop: sampling.include_stop,
  }
}

const PRIORITY: ReadonlyMap<string | number, Priority> = new Map([
  ['PRIORITY_UNSPECIFIED', 'normal'],
  ['PRIORITY_HIGH', 'high'],
  ['PRIORITY_NORMAL', 'normal'],
  ['PRIORITY_LOW', 'low'],
])

function priorityOf({ priority }: WireGenerateRequest): Priority {
  const known = PRIORITY.get(priority)
  if (known !== undefined) return known
  throw new ClusterError(
    'invalid_argument',
    `priority: want one of ${[...PRIORITY.keys()].join(', ')}, got ${priority}`,
    {
      details: { reason: 'INVALID_ARGUMENT', field: 'priority' },
    },
  )
}

export function toGenerateInput(request: WireGenerateRequest, tenant: string): GenerateInput {
  return {
    requestId: request.request_id,
    model: request.model,
    prompt: promptOf(request),
    sampling: samplingOf(request.sampling),
    n: request.n,
    logprobs: request.return_logprobs ? request.top_logprobs : undefined,
    speculation: request.speculation,
    returnTrees: request.return_trees,
    priority: priorityOf(request),
    tenant,
  }
}

/** Tokens held per choice. */
export function checkOffsets(offsets: readonly number[]): HeldTokens {
  if (offsets.length <= MAX_CHOICES) return offsets
  throw new ClusterError('invalid_argument', `offsets: want at most ${MAX_CHOICES}, got ${offsets.length}`, {
    details: { field: 'offsets' },
  })
}

const FINISH_REASON: Record<FinishReason, string> = {
  stop: 'FINISH_REASON_STOP',
  length: 'FINISH_REASON_LENGTH',
  cancelled: 'FINISH_REASON_CANCELLED',
  error: 'FINISH_REASON_ERROR',
}

/** A GenerateResponse. */
export function toResponse(requestId: string, event: GenerateEvent): Record<string, unknown> {
  switch (event.kind) {
    case 'accepted':
      return {
        request_id: requestId,
        accepted: {
          prompt_tokens: event.promptTokens,
          cached_tokens: event.cachedTokens,
          fingerprint: event.fingerprint,
          seed: event.seed.toString(),
          model: event.model,
        },
      }
    case 'chunk':
      return {
        request_id: requestId,
        chunk: {
          choice: event.choice,
          offset: event.offset,
          token_ids: event.tokenIds,
          text: event.text,
          logprobs: event.logprobs.map(({ token, logprob, text, top }) => ({
            token,
            logprob,
            text,
            top: top.map((best) => ({ token: best.token, logprob: best.logprob })),
          })),
          ...(event.tree === undefined ? {} : { tree: treeFields(event.tree) }),
        },
      }
    case 'finished':
      return { request_id: requestId, finished: finishedOf(event) }
  }
}

function finishedOf({ choice, reason, usage, stats, stopReason }: Extract<GenerateEvent, { kind: 'finished' }>) {
  return {
    choice,
    reason: FINISH_REASON[reason],
    usage: {
      prompt_tokens: usage.promptTokens,
      cached_tokens: usage.cachedTokens,
      completion_tokens: usage.completionTokens,
    },
    stats: {
      ttft_ms: stats.ttftMs,
      tpot_ms: stats.tpotMs,
      tokens_per_second: stats.tokensPerSecond,
      steps: stats.steps,
      drafted: stats.drafted,
      accepted: stats.accepted,
      acceptance_length: stats.acceptanceLength,
      draft_steps: stats.draftSteps,
      offered: stats.offered,
      draft_ms: stats.draftMs,
      mean_price: stats.meanPrice,
    },
    ...(typeof stopReason === 'string' ? { stop_string: stopReason } : {}),
    ...(typeof stopReason === 'number' ? { stop_token_id: stopReason } : {}),
  }
}

export function toModelInfo({ model }: InferenceEngine): Record<string, unknown> {
  return {
    id: model.id,
    family: model.family,
    max_positions: model.maxPositions,
    vocab_size: model.vocabSize,
    num_layers: model.numLayers,
    hidden_size: model.hidden,
    num_experts: model.numExperts,
    experts_per_token: model.expertsPerToken,
    eos_token_ids: model.eosTokenIds,
    weight_format: model.weightFormat,
    has_tokenizer: model.hasTokenizer,
    has_chat_template: model.hasChatTemplate,
    reserved_tokens: model.reservedTokens,
  }
}

export function toServerInfo(engine: InferenceEngine): Record<string, unknown> {
  const status = engine.status()
  return {
    version: engine.version,
    fingerprint: status.fingerprint,
    fingerprint_parts: snakeCase(engine.fingerprintParts()),
    epoch: status.epoch,
    ready: engine.isReady(),
    processes: status.processes.map(({ role, id, pid, state, deviceClass }) => ({
      role,
      id,
      pid,
      state,
      device_class: deviceClass,
    })),
    running: status.requests.running,
    waiting: status.requests.waiting,
  }
}
