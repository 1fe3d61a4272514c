// The recorded answer in the attributes of a GenAI span; token ids are ours to name.

import type { RecordedAnswer } from '../trace.js'
import type { AttributeValue, Span } from '../spans/span.js'
import { checkCount, isRow, parseJson, type Row } from './fields.js'
import { BadItem } from './format.js'

const FINGERPRINT_ATTRIBUTE = 'banyan.fingerprint'
const ANSWER_ATTRIBUTE = 'banyan.answer' // a RecordedAnswer as JSON

/** Undefined where the span does not say which weights answered. */
export function recordedOf({ attributes }: Span): RecordedAnswer | undefined {
  const fingerprint = attributes[FINGERPRINT_ATTRIBUTE]
  const answer = attributes[ANSWER_ATTRIBUTE]
  if (typeof fingerprint !== 'string' || typeof answer !== 'string') return undefined
  const value = parseJson(answer)
  if (!isRow(value)) throw new BadItem(`${ANSWER_ATTRIBUTE}: want an object`)
  const numbers = (list: unknown): number[] => (Array.isArray(list) ? list.map(Number) : [])
  const words = (list: unknown): string[] => (Array.isArray(list) ? list.map(String) : [])
  const { tokenIds, tokenHashes, texts, traceId, fingerprintParts, cachedTokens, error, outcome } = value
  return {
    fingerprint,
    ...(isRow(fingerprintParts) && { fingerprintParts: partsOf(fingerprintParts) }),
    finishReasons: words(value.finishReasons),
    numTokens: numbers(value.numTokens),
    ...(Array.isArray(tokenIds) && { tokenIds: tokenIds.map(numbers) }),
    ...(Array.isArray(tokenHashes) && { tokenHashes: words(tokenHashes) }),
    ...(Array.isArray(texts) && { texts: words(texts) }),
    isWhole: value.isWhole === true,
    ...(typeof traceId === 'string' && { traceId }),
    ...(cachedTokens !== undefined && { cachedTokens: checkCount('cachedTokens', cachedTokens) }),
    ...((outcome === 'cancelled' || outcome === 'failed') && { outcome }),
    ...(isRow(error) && { error: errorOf(error) }),
  }
}

const errorOf = ({ code, message, reason }: Row): NonNullable<RecordedAnswer['error']> => ({
  code: String(code),
  message: String(message),
  ...(typeof reason === 'string' && { reason }),
})

const partsOf = (row: Row): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(row).map(([name, part]) => [name, String(part)]))

/** The attributes that `recordedOf` reads. */
export const answerAttributes = ({
  fingerprint,
  ...answer
}: RecordedAnswer): Readonly<Record<string, AttributeValue>> =>
  fingerprint === undefined ? {} : { [FINGERPRINT_ATTRIBUTE]: fingerprint, [ANSWER_ATTRIBUTE]: JSON.stringify(answer) }
