// From an OpenAI body to what the engine takes.

import type { GenerateInput, Priority, PromptInput, SamplingInput } from '../engine.js'
import type { ChatBody, CompletionBody } from './schemas.js'

const USUAL_COMPLETION_TOKENS = 16 // OpenAI's default for completions; chat takes the rest of the context

const some = <T>(value: T | null | undefined): T | undefined => value ?? undefined

function samplingOf(body: ChatBody | CompletionBody, maxTokens: number | null | undefined): SamplingInput {
  const bias = Object.entries(body.logit_bias ?? {}).map(([token, value]): [number, number] => [Number(token), value])
  return {
    temperature: some(body.temperature),
    topP: some(body.top_p),
    topK: some(body.top_k),
    minP: some(body.min_p),
    repetitionPenalty: some(body.repetition_penalty),
    presencePenalty: some(body.presence_penalty),
    frequencyPenalty: some(body.frequency_penalty),
    logitBias: bias.length === 0 ? undefined : new Map(bias),
    maxTokens: some(maxTokens),
    minTokens: some(body.min_tokens),
    seed: body.seed === null || body.seed === undefined ? undefined : BigInt(body.seed),
    stop: typeof body.stop === 'string' ? [body.stop] : some(body.stop),
    stopTokenIds: some(body.stop_token_ids),
    ignoreEos: some(body.ignore_eos),
    includeStop: some(body.include_stop_str_in_output),
  }
}

function priorityOf({ priority }: ChatBody | CompletionBody): Priority | undefined {
  if (typeof priority !== 'number') return some(priority)
  if (priority === 0) return 'normal'
  return priority < 0 ? 'high' : 'low'
}

export interface RequestContext {
  readonly requestId: string | undefined
  readonly tenant: string
  readonly session?: string | undefined
  readonly traceparent?: string | undefined
}

export function chatInput(body: ChatBody, { requestId, tenant, session, traceparent }: RequestContext): GenerateInput {
  const messages = body.messages.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join(''),
  }))
  return {
    requestId,
    tenant,
    model: some(body.model),
    prompt: { kind: 'chat', messages },
    sampling: samplingOf(body, body.max_completion_tokens ?? body.max_tokens),
    n: some(body.n),
    logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : undefined,
    speculation: some(body.speculation),
    returnTrees: some(body.return_trees),
    door: 'chat',
    session,
    traceparent,
    priority: priorityOf(body),
  }
}

/** One request per prompt of the list; with several, each has an id of its own. */
export function completionInputs(body: CompletionBody, context: RequestContext): GenerateInput[] {
  const { requestId, tenant, session, traceparent } = context
  const prompts = promptsOf(body.prompt)
  return prompts.map((prompt, i) => ({
    requestId: requestId === undefined || prompts.length === 1 ? requestId : `${requestId}.${i}`,
    tenant,
    model: some(body.model),
    prompt,
    sampling: samplingOf(body, body.max_tokens),
    usualTokens: USUAL_COMPLETION_TOKENS,
    n: some(body.n),
    logprobs: some(body.logprobs),
    speculation: some(body.speculation),
    returnTrees: some(body.return_trees),
    door: 'completions',
    session,
    traceparent,
    priority: priorityOf(body),
  }))
}

function promptsOf(prompt: CompletionBody['prompt']): PromptInput[] {
  if (typeof prompt === 'string') return [{ kind: 'text', text: prompt }]
  const isIds = prompt.every((item): item is number => typeof item === 'number')
  if (isIds) return [{ kind: 'tokens', tokens: prompt }]
  return prompt.map((item): PromptInput => {
    if (typeof item === 'string') return { kind: 'text', text: item }
    return { kind: 'tokens', tokens: typeof item === 'number' ? [item] : item }
  })
}
