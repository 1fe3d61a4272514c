// Turns what a client sent into a request that can be scheduled, or refuses it with one `invalid_argument` that names
// the field, what was found and what is wanted. After this nothing is checked again.

import { ClusterError } from '../../lib/errors.js'
import type { GenerationDefaults } from '../../lib/model/checkpoint.js'
import type { SamplingParams } from '../../lib/sampling/params.js'
import type { GenerateInput, Priority, SamplingInput } from './engine.js'

export const MAX_CHOICES = 64
export const MAX_LOGPROBS = 20
const MAX_STOPS = 16
const MAX_STOP_LENGTH = 512
const MAX_STOP_IDS = 256
const MAX_BIASES = 1024
const MAX_UINT64 = 2n ** 64n - 1n

export interface ModelLimits {
  readonly vocabSize: number
  readonly maxPositions: number
  readonly kvTokens: number // of the smallest attention worker
  readonly eosTokenIds: readonly number[]
  readonly defaults: GenerationDefaults
}

export interface ValidRequest {
  readonly prompt: readonly number[]
  readonly n: number
  readonly maxTokens: number
  readonly stop: readonly string[]
  readonly includeStop: boolean
  readonly drafts: boolean
  readonly returnsTrees: boolean
  readonly priority: Priority
  readonly sampling: SamplingParams // choice-independent; the seed is the given or the drawn one
}

function refuse(field: string, message: string): never {
  throw new ClusterError('invalid_argument', `${field}: ${message}`, { details: { reason: 'INVALID_ARGUMENT', field } })
}

interface Range {
  readonly min: number
  readonly max: number
  readonly isInteger?: boolean
  readonly excludesMin?: boolean
}

function inRange(field: string, value: number, { min, max, isInteger = false, excludesMin = false }: Range): number {
  const isInside = value <= max && (excludesMin ? value > min : value >= min)
  if (!Number.isFinite(value) || !isInside || (isInteger && !Number.isInteger(value))) {
    const kind = isInteger ? 'an integer' : 'a number'
    refuse(field, `want ${kind} ${excludesMin ? 'above' : 'from'} ${min} to ${max}, got ${value}`)
  }
  return value
}

/** Throws `not_found` for a name that is not the served model's; none at all means that one. */
export function checkModel(name: string | null | undefined, { id }: { readonly id: string }): void {
  if (name === undefined || name === null || name === '' || name === id) return
  throw new ClusterError('not_found', `model ${name}: this cluster serves ${id}`, {
    details: { reason: 'MODEL_NOT_FOUND', model: name },
  })
}

export function checkVocabulary(
  field: string,
  tokens: readonly number[],
  { vocabSize }: Pick<ModelLimits, 'vocabSize'>,
): void {
  const bad = tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize)
  if (bad !== undefined) refuse(field, `token id ${bad}: want 0 … ${vocabSize - 1}`)
}

/** Checks the prompt's ids: at least one, inside the vocabulary, shorter than the context. */
export function checkPrompt(prompt: readonly number[], limits: ModelLimits): void {
  const { maxPositions } = limits
  if (prompt.length === 0) refuse('prompt', 'want at least one token, got none')
  checkVocabulary('prompt', prompt, limits)
  if (prompt.length >= maxPositions) {
    refuse('prompt', `${prompt.length} tokens: the context holds ${maxPositions}, so at most ${maxPositions - 1} fit`)
  }
}

/** Fills absent fields from `generation_config.json` and checks every range. `drawSeed` is called where no seed came. */
export function validate(
  input: GenerateInput,
  prompt: readonly number[],
  limits: ModelLimits,
  drawSeed: () => bigint,
): ValidRequest {
  checkPrompt(prompt, limits)
  const fields = input.sampling
  const n = input.n === undefined || input.n === 0 ? 1 : input.n
  inRange('n', n, { min: 1, max: MAX_CHOICES, isInteger: true })
  const maxTokens = resolveMaxTokens(input, prompt.length, limits)
  const seed = fields.seed ?? drawSeed()
  if (seed < 0n || seed > MAX_UINT64) refuse('seed', `want 0 … ${MAX_UINT64}, got ${seed}`)
  return {
    prompt,
    n,
    maxTokens,
    stop: checkStops(fields.stop ?? []),
    includeStop: fields.includeStop ?? false,
    drafts: input.speculation ?? true,
    returnsTrees: input.returnTrees ?? false,
    priority: input.priority ?? 'normal',
    sampling: { ...checkSampling(fields, limits, maxTokens), seed, logprobs: checkLogprobs(input.logprobs) },
  }
}

const describeKv = ({ kvTokens }: ModelLimits): string => `the KV cache of a worker holds ${kvTokens} tokens`

function refuseForKv(field: string, message: string): never {
  throw new ClusterError('invalid_argument', `${field}: ${message}`, { details: { reason: 'KV_TOO_SMALL', field } })
}

function resolveMaxTokens({ sampling, usualTokens }: GenerateInput, promptLength: number, limits: ModelLimits): number {
  const asked = sampling.maxTokens
  const room = Math.min(limits.maxPositions, limits.kvTokens) - promptLength
  if (room < 1)
    refuseForKv('prompt', `${promptLength} tokens: ${describeKv(limits)}, so at most ${limits.kvTokens - 1} fit`)
  if (asked === undefined) return Math.min(usualTokens ?? room, room)
  if (asked > room && limits.kvTokens < limits.maxPositions) {
    refuseForKv(
      'max_tokens',
      `want at most ${room} after a prompt of ${promptLength}, got ${asked}: ${describeKv(limits)}`,
    )
  }
  return inRange('max_tokens', asked, { min: 1, max: room, isInteger: true })
}

function checkLogprobs(logprobs: number | undefined): number {
  if (logprobs === undefined) return -1
  return inRange('logprobs', logprobs, { min: 0, max: MAX_LOGPROBS, isInteger: true })
}

function atMost<T>(field: string, items: Iterable<T>, { max, what }: { max: number; what: string }): readonly T[] {
  const list = [...items]
  if (list.length > max) refuse(field, `want at most ${max} ${what}, got ${list.length}`)
  return list
}

function checkStops(stops: readonly string[]): readonly string[] {
  for (const stop of atMost('stop', stops, { max: MAX_STOPS, what: 'strings' })) {
    if (stop.length === 0 || stop.length > MAX_STOP_LENGTH) {
      refuse('stop', `want strings of 1 to ${MAX_STOP_LENGTH} characters, got one of ${stop.length}`)
    }
  }
  return stops
}

type CheckedSampling = Omit<SamplingParams, 'seed' | 'logprobs'>

function checkSampling(fields: SamplingInput, limits: ModelLimits, maxTokens: number): CheckedSampling {
  const { defaults, vocabSize } = limits
  const id: Range = { min: 0, max: vocabSize - 1, isInteger: true }
  const askedIds = atMost('stop_token_ids', fields.stopTokenIds ?? [], { max: MAX_STOP_IDS, what: 'ids' })
  const stopIds = askedIds.map((token) => inRange('stop_token_ids', token, id))
  const endIds = [...stopIds, ...(fields.ignoreEos === true ? [] : limits.eosTokenIds)]
  const penalty: Range = { min: -2, max: 2 }
  const biases = atMost('logit_bias', fields.logitBias ?? [], { max: MAX_BIASES, what: 'tokens' })
  const bias = biases.map(([token, value]): [number, number] => [
    inRange('logit_bias', token, id),
    inRange('logit_bias', value, { min: -100, max: 100 }),
  ])
  return {
    temperature: inRange('temperature', fields.temperature ?? defaults.temperature, { min: 0, max: 100 }),
    topP: inRange('top_p', fields.topP ?? defaults.topP, { min: 0, max: 1, excludesMin: true }),
    topK: checkTopK(fields.topK ?? defaults.topK),
    minP: inRange('min_p', fields.minP ?? defaults.minP, { min: 0, max: 1 }),
    repetitionPenalty: inRange('repetition_penalty', fields.repetitionPenalty ?? defaults.repetitionPenalty, {
      min: 0,
      max: 100,
      excludesMin: true,
    }),
    presencePenalty: inRange('presence_penalty', fields.presencePenalty ?? 0, penalty),
    frequencyPenalty: inRange('frequency_penalty', fields.frequencyPenalty ?? 0, penalty),
    logitBias: bias.sort((a, b) => a[0] - b[0]),
    minTokens: inRange('min_tokens', fields.minTokens ?? 0, { min: 0, max: maxTokens, isInteger: true }),
    endTokenIds: [...new Set(endIds)].sort((a, b) => a - b),
  }
}

/** 0 and -1 (vLLM's spelling) switch top-k off. */
const checkTopK = (topK: number): number =>
  topK === -1 ? 0 : inRange('top_k', topK, { min: 0, max: 2 ** 31 - 1, isInteger: true })
