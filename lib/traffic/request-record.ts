// One line of `requests-*.jsonl`: what a request was, what it got, and when. The router writes it, the replayer reads it.
//
// Invariants
//   T1  With token ids, a record says all that its answer is a function of (I1): whoever has the same fingerprint can
//       give the same answer again.
//   T2  What `content` does not allow is not in the record, in no form but hashes.

import { createHash } from 'node:crypto'
import * as z from 'zod'

export const RECORD_SCHEMA = 'banyan.request.v1'
export const BLOCK_TOKENS = 512 // of a prompt, per hash

const count = z.int().min(0)
const ms = z.number().min(0)
const hash = z.string().regex(/^[0-9a-f]{16}$/)

/** What was in force, defaults filled in; the seed is a decimal uint64, because JSON has no 64-bit integers. */
const params = z.object({
  temperature: z.number(),
  topP: z.number(),
  topK: count,
  minP: z.number(),
  repetitionPenalty: z.number(),
  presencePenalty: z.number(),
  frequencyPenalty: z.number(),
  logitBias: z.record(z.string(), z.number()).optional(), // by token id
  maxTokens: count,
  minTokens: count,
  stop: z.array(z.string()).optional(), // with content ids and text alone
  stopTokenIds: z.array(count).optional(),
  ignoreEos: z.boolean(),
  includeStop: z.boolean(),
  seed: z.string().regex(/^\d{1,20}$/),
  n: z.int().min(1),
  logprobs: z.int().min(0).optional(),
})

const choice = z.object({
  numTokens: count,
  hash, // of all ids
  ids: z.array(count).optional(),
  text: z.string().optional(),
  finishReason: z.string().optional(), // absent where the request ended before the choice did
  /** [ms after arrival, tokens]: tokens that became readable at once, in order. */
  chunks: z.array(z.tuple([ms, z.int().min(1)])),
  replayedTokens: z.int().min(1).optional(), // of an earlier run, before it was taken over or resumed: in no chunk
  steps: count,
  drafted: count,
  accepted: count,
  routedExperts: z.string().optional(), // file with the experts of its tokens, from the record's folder
})

export const requestRecordSchema = z.object({
  schema: z.literal(RECORD_SCHEMA),
  id: z.string(),
  arrivalUnixMs: z.number(),
  endMs: ms, // after arrival
  model: z.string(),
  fingerprint: z.string(),
  fingerprintParts: z.record(z.string(), z.string()).optional(), // what it is made of, by the API's names
  router: z.string(),
  traceId: z.string().optional(), // of its spans
  session: z.string().optional(), // requests of one conversation share it
  content: z.enum(['ids', 'text', 'hash']),
  prompt: z.object({
    numTokens: count,
    cachedTokens: count,
    blockTokens: z.int().min(1),
    /** A block's hash covers the blocks before it too: equal hashes, equal prefixes. The last block may be short. */
    blockHashes: z.array(hash),
    ids: z.array(count).optional(),
    text: z.string().optional(),
  }),
  params,
  choices: z.array(choice),
  outcome: z.enum(['finished', 'cancelled', 'failed']),
  error: z
    .object({
      code: z.string(),
      message: z.string(),
      reason: z.string().optional(), // as the API's errors have it, such as CLIENT_LEFT
    })
    .optional(),
})

export type RequestRecord = z.infer<typeof requestRecordSchema>
export type RecordContent = RequestRecord['content']

/** The record with no more in it than `content` allows, nor than it had before. */
export function limitContent(record: RequestRecord, content: RecordContent): RequestRecord {
  const level = lesserContent(content, record.content)
  if (level === record.content) return record
  const { ids, numTokens, cachedTokens, blockTokens, blockHashes } = record.prompt
  const prompt = { numTokens, cachedTokens, blockTokens, blockHashes }
  const { stop, ...params } = record.params
  const withIds = level === 'ids'
  return {
    ...record,
    content: level,
    prompt: { ...prompt, ...(withIds && ids !== undefined && { ids }) },
    params: { ...params, ...(withIds && stop !== undefined && { stop }) },
    choices: record.choices.map(({ text: _, ids: own, routedExperts, ...choice }) => ({
      ...choice,
      ...(withIds && own !== undefined && { ids: own }),
      ...(withIds && routedExperts !== undefined && { routedExperts }),
    })),
  }
}

const LEVELS: readonly RecordContent[] = ['hash', 'ids', 'text'] // each has what the one before has, and more

export const lesserContent = (a: RecordContent, b: RecordContent): RecordContent =>
  LEVELS.indexOf(a) < LEVELS.indexOf(b) ? a : b

export const greaterContent = (a: RecordContent, b: RecordContent): RecordContent => (lesserContent(a, b) === a ? b : a)

const HASH_DIGITS = 16

const bytesOf = (tokens: readonly number[]): Buffer => {
  const bytes = Buffer.allocUnsafe(tokens.length * 4)
  tokens.forEach((token, i) => bytes.writeUInt32LE(token, i * 4))
  return bytes
}

/** SHA-256 of ids as little-endian uint32, its first 16 hex digits. */
export const hashTokens = (tokens: readonly number[]): string =>
  createHash('sha256').update(bytesOf(tokens)).digest('hex').slice(0, HASH_DIGITS)

/** One hash per block of a prompt; each covers all tokens up to its block's end. */
export function hashBlocks(tokens: readonly number[], blockTokens = BLOCK_TOKENS): string[] {
  const hashes: string[] = []
  const running = createHash('sha256')
  for (let start = 0; start < tokens.length; start += blockTokens) {
    running.update(bytesOf(tokens.slice(start, start + blockTokens)))
    hashes.push(running.copy().digest('hex').slice(0, HASH_DIGITS))
  }
  return hashes
}
