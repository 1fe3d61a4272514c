// Between the SDK's types and the proto's messages in protobufjs' plain form.

import { BanyanError } from './errors.js'
import type { Plain } from './proto.js'
import type {
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  Logprob,
  ModelInfo,
  SamplingOptions,
  ServerInfo,
  Stats,
  StepTree,
  Usage,
} from './types.js'

const defined = (values: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))

// protobufjs wraps what does not fit its field: -1 would travel as 4294967295. So numbers are checked here.
const MAX_UINT32 = 2 ** 32 - 1
const MAX_UINT64 = 2n ** 64n - 1n

function uint32<T extends number | undefined>(field: string, value: T): T {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= MAX_UINT32)) return value
  throw new BanyanError('invalid_argument', `${field}: want an integer from 0 to ${MAX_UINT32}, got ${value}`)
}

function uint64(field: string, value: bigint | undefined): string | undefined {
  if (value === undefined || (value >= 0n && value <= MAX_UINT64)) return value?.toString()
  throw new BanyanError('invalid_argument', `${field}: want 0 to ${MAX_UINT64}, got ${value}`)
}

function samplingMessage({ seed, ...rest }: SamplingOptions): Plain {
  uint32('topK', rest.topK)
  uint32('maxTokens', rest.maxTokens)
  uint32('minTokens', rest.minTokens)
  rest.stopTokenIds?.forEach((id) => uint32('stopTokenIds', id))
  return defined({ ...rest, seed: uint64('seed', seed) })
}

/** A GenerateRequest message. Throws `invalid_argument` unless exactly one prompt is given and every number fits. */
export function requestMessage(request: GenerateRequest): Plain {
  const { text, tokens, chat, sampling, logprobs, priority, ...rest } = request
  const given = [text, tokens, chat].filter((input) => input !== undefined)
  if (given.length !== 1)
    throw new BanyanError('invalid_argument', `want exactly one of text, tokens and chat, got ${given.length}`)
  return defined({
    ...rest,
    text,
    tokens: tokens && { ids: tokens.map((id) => uint32('tokens', id)) },
    chat: chat && { messages: [...chat] },
    sampling: sampling && samplingMessage(sampling),
    returnLogprobs: logprobs !== undefined,
    priority: priority && `PRIORITY_${priority.toUpperCase()}`,
    n: uint32('n', rest.n),
    topLogprobs: uint32('logprobs', logprobs) ?? 0,
  })
}

// The decoded messages have the shapes of `inference.proto`; protobufjs types them as plain records.
interface WireEvent {
  readonly requestId: string
  readonly event?: 'accepted' | 'chunk' | 'finished'
  readonly accepted?: { promptTokens: number; cachedTokens: number; fingerprint: string; seed: string; model: string }
  readonly chunk?: {
    choice: number
    offset: number
    tokenIds: number[]
    text: string
    logprobs: Logprob[]
    tree: StepTree | null
  }
  readonly finished?: {
    choice: number
    reason: string
    usage: Usage
    stats: Stats
    stopString: string
    stopTokenId?: number
  }
}

const finishReason = (name: string): FinishReason => {
  const reason = name.replace('FINISH_REASON_', '').toLowerCase()
  return reason === 'stop' || reason === 'length' || reason === 'cancelled' ? reason : 'error'
}

/** A GenerateResponse (or ResumeResponse) as an event. */
export function toEvent(plain: Plain): GenerateEvent {
  const wire = plain as unknown as WireEvent // see above
  const { requestId, accepted, chunk, finished } = wire
  if (accepted !== undefined) return { type: 'accepted', requestId, ...accepted, seed: BigInt(accepted.seed) }
  if (chunk !== undefined) {
    const { tree, ...rest } = chunk
    return { type: 'chunk', requestId, ...rest, ...(tree === null ? {} : { tree }) }
  }
  if (finished === undefined) throw new BanyanError('internal', 'the server sent an event of an unknown kind')
  const { choice, reason, usage, stats, stopString, stopTokenId } = finished
  const stop = stopTokenId ?? (stopString === '' ? undefined : stopString)
  return { type: 'finished', requestId, choice, finishReason: finishReason(reason), stop, usage, stats }
}

export const toModelInfo = (plain: Plain): ModelInfo => plain as unknown as ModelInfo // the message has these fields

export const toServerInfo = (plain: Plain): ServerInfo => plain as unknown as ServerInfo // the message has these fields
