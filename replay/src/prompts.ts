// Prompts of requests whose trace tells only lengths: made for the endpoint that is to get them, ids where it takes ids,
// else text.

import { counted } from './counted.js'
import type { Call } from './clients/client.js'
import { RequestFailure } from './errors.js'
import { inParallel } from './in-parallel.js'
import {
  createVocabulary,
  synthesizeText,
  synthesizeTokens,
  type BlockPrompt,
  type TokenRange,
  type Tokenizer,
  type Vocabulary,
} from './synthesize.js'
import type { TraceRequest } from './trace.js'

export type PromptOf = (request: TraceRequest) => Call['prompt']

export interface PromptOptions {
  readonly seed: bigint
  readonly vocabSize?: number | undefined // of the served model
  readonly reservedTokens?: readonly TokenRange[] // of its vocabulary, that no ordinary text holds
  readonly maxTokens?: number | undefined // that a prompt may have there
  readonly tokenizer?: Tokenizer | undefined // the served one
  readonly form: 'ids' | 'text'
  readonly signal?: AbortSignal | undefined
}

const MAX_QUESTIONS = 16 // to the tokenizer at a time

const MAX_PROMPT_TOKENS = 4 * 1024 * 1024 // longer ones no endpoint takes, and no memory

/** Common words that most tokenizers hold as one token each. */
const WORDS = (
  'the of and to in is that for it was on are as with his they at be this from have or by one had not but what all were ' +
  'when we there can an your which their said if do will each about how up out them then she many some so these would ' +
  'other into has more her two like him see time could no make than first been its who now people my made over did down ' +
  'only way find use may water long little very after words called just where most know'
).split(' ')

/**
 * Ids of these words in the served tokenizer, for endpoints that do not tell the size of their vocabulary. The words come
 * twice: what comes once was put around them.
 */
async function idsOfWords({ tokenizer }: PromptOptions): Promise<Vocabulary | undefined> {
  const text = ` ${[...WORDS, ...WORDS].join(' ')}`
  const ids = (await tokenizer?.tokenize(text, { isBare: true }).catch(() => undefined)) ?? [] // it has none after all
  const again = new Set(ids.filter((id, i) => ids.indexOf(id) < i))
  return again.size === 0 ? undefined : Uint32Array.from(again).sort()
}

export interface Prompts {
  readonly promptOf: PromptOf
  readonly notices: readonly string[]
}

/** How each request's prompt is made: ids and words when they are needed, exact texts here and now. */
export async function createPrompts(requests: readonly TraceRequest[], options: PromptOptions): Promise<Prompts> {
  const { vocabSize, reservedTokens = [], tokenizer, form } = options
  if (requests.every(({ prompt }) => prompt.kind !== 'blocks')) return { promptOf: given, notices: [] }
  const vocabulary =
    vocabSize === undefined
      ? await idsOfWords(options)
      : createVocabulary({ size: vocabSize, reserved: reservedTokens })
  if (vocabulary === undefined) return inWords(options)
  if (form === 'ids') return inIds(vocabulary, options)
  return tokenizer === undefined ? inWords(options) : inExactText(requests, vocabulary, { ...options, tokenizer })
}

function inIds(vocabulary: Vocabulary, options: PromptOptions): Prompts {
  const promptOf: PromptOf = (request) => {
    const blocks = blocksOf(request, options)
    if (blocks === undefined) return given(request)
    return {
      kind: 'tokens',
      tokens: synthesizeTokens(blocks, { vocabulary, seed: options.seed, requestId: request.id }),
    }
  }
  return { promptOf, notices: [] }
}

async function inExactText(
  requests: readonly TraceRequest[],
  vocabulary: Vocabulary,
  options: PromptOptions & { readonly tokenizer: Tokenizer },
): Promise<Prompts> {
  const { tokenizer, seed, signal } = options
  const texts = new Map<string, string>()
  let numInexact = 0
  const make = async ({ id, prompt }: TraceRequest): Promise<void> => {
    if (prompt.kind !== 'blocks' || prompt.numTokens > maxTokens(options)) return
    const made = await synthesizeText(prompt, tokenizer, { vocabulary, seed, requestId: id })
    texts.set(id, made.text)
    if (!made.isExact) numInexact += 1
  }
  try {
    await inParallel(requests, { limit: MAX_QUESTIONS, isOver: () => signal?.aborted === true }, make)
  } catch {
    const { notices, ...words } = inWords(options) // it does not answer after all
    return { ...words, notices: signal?.aborted === true ? [] : notices }
  }
  const promptOf: PromptOf = (request) =>
    blocksOf(request, options) === undefined ? given(request) : { kind: 'text', text: texts.get(request.id) ?? '' }
  const notice = `${counted(numInexact, 'prompt')} not exactly as long as recorded: no text of that length was found`
  return { promptOf, notices: numInexact > 0 ? [notice] : [] }
}

const words = createVocabulary({ size: WORDS.length })

function inWords(options: PromptOptions): Prompts {
  const promptOf: PromptOf = (request) => {
    const blocks = blocksOf(request, options)
    if (blocks === undefined) return given(request)
    const drawn = synthesizeTokens(blocks, { vocabulary: words, seed: options.seed, requestId: request.id })
    return { kind: 'text', text: drawn.map((word) => WORDS[word] ?? '').join(' ') }
  }
  const notice =
    'no tokenizer of the endpoint to ask: prompts are one common word per token, their lengths close, not exact'
  return { promptOf, notices: [notice] }
}

/** The prompt that the trace has. Throws `no_prompt` where it has only a length. */
export function given({ id, prompt }: TraceRequest): Call['prompt'] {
  if (prompt.kind !== 'blocks') return prompt
  throw new RequestFailure('no_prompt', `request ${id}: the trace tells only its length; make its prompt first`)
}

const maxTokens = (options: PromptOptions): number => Math.min(options.maxTokens ?? Infinity, MAX_PROMPT_TOKENS)

/** The prompt as blocks, if it is one. Throws `too_long` for what the endpoint cannot take. */
function blocksOf({ id, prompt }: TraceRequest, options: PromptOptions): BlockPrompt | undefined {
  if (prompt.kind !== 'blocks') return undefined
  const most = maxTokens(options)
  if (prompt.numTokens <= most) return prompt
  throw new RequestFailure(
    'too_long',
    `request ${id}: want a prompt of at most ${most} tokens, found ${prompt.numTokens}`,
  )
}

/**
 * Recorded answers that are texts get their length from the served tokenizer, else from their words: all those left
 * once it did not answer or the signal came.
 */
export async function withOutputLengths(
  requests: readonly TraceRequest[],
  tokenizer: Tokenizer | undefined,
  signal?: AbortSignal,
): Promise<TraceRequest[]> {
  const lengths = new Map<number, number>()
  const isOver = (): boolean => tokenizer === undefined || signal?.aborted === true
  await inParallel(requests, { limit: MAX_QUESTIONS, isOver }, async ({ outputText, outputTokens }, index) => {
    if (outputText === undefined || outputTokens !== undefined) return
    lengths.set(index, (await tokenizer?.tokenize(outputText, { isBare: true }))?.length ?? 0)
  }).catch(() => undefined) // then words have to do
  return requests.map((request, index) => {
    const { outputText, outputTokens } = request
    if (outputText === undefined || outputTokens !== undefined) return request
    const numTokens = lengths.get(index) ?? Math.ceil(outputText.split(/\s+/).length * TOKENS_PER_WORD)
    return { ...request, outputTokens: Math.max(1, numTokens) }
  })
}

const TOKENS_PER_WORD = 1.3
