// What of an answer is not as it should be.

import { isDeepStrictEqual } from 'node:util'
import type { Choice } from '../../sdk/src/index.js'

export type Compared = Pick<Choice, 'tokenIds' | 'text' | 'finishReason' | 'logprobs'>

export interface Difference {
  readonly count: number // places whose token or log-probability differs; the text and the reason count as one place each
  readonly first: string // in words; empty where nothing differs
}

/** Compares two answers to one request, choice by choice. */
export function compareChoices(want: readonly Compared[], got: readonly Compared[]): Difference {
  const places = Array.from({ length: Math.max(want.length, got.length) }, (_, i) =>
    differences(want[i], got[i]).map((words) => `choice ${i}, ${words}`),
  ).flat()
  return { count: places.length, first: places[0] ?? '' }
}

function differences(want: Compared | undefined, got: Compared | undefined): string[] {
  if (want === undefined || got === undefined) return [`want ${given(want)}, found ${given(got)}`]
  const length = Math.max(want.tokenIds.length, got.tokenIds.length)
  const tokens = Array.from({ length }, (_, at) => differenceAt(want, got, at))
  const rest = (['text', 'finishReason'] as const).map((field) =>
    want[field] === got[field]
      ? ''
      : `${field}: want ${JSON.stringify(want[field])}, found ${JSON.stringify(got[field])}`,
  )
  return [...tokens, ...rest].filter((words) => words !== '')
}

function differenceAt(want: Compared, got: Compared, at: number): string {
  const [wanted, found] = [want.tokenIds[at], got.tokenIds[at]]
  if (wanted !== found) return `token ${at}: want ${wanted ?? 'none'}, found ${found ?? 'none'}`
  if (isDeepStrictEqual(want.logprobs[at], got.logprobs[at])) return ''
  return `log-probability ${at}: want ${JSON.stringify(want.logprobs[at])}, found ${JSON.stringify(got.logprobs[at])}`
}

const given = (choice: Compared | undefined): string => (choice === undefined ? 'none' : 'one')
