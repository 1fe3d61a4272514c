// One request's answer as its client received it, and what of it is not as it should be.
//
// Invariants
//   A1  A token counts where its offset says, once: one that comes again is a duplicate, one that is skipped is missing.
//   A2  An answer is whole when every choice ended exactly once, by a stop or by its length, and nothing came after.

import type { FinishReason } from '../../sdk/src/index.js'

export interface ChoiceAnswer {
  readonly tokenIds: readonly number[]
  readonly finishReason: FinishReason | undefined
  readonly numEnds: number
  readonly numDuplicated: number
  readonly firstMs: number // from the request to the first token
  readonly longestGapMs: number // between tokens after that
}

export interface Answer {
  readonly choices: readonly ChoiceAnswer[]
  readonly problem: string | undefined // an error, or what is not whole
}

export interface Recorder {
  /** `offset` absent: the tokens continue their choice. */
  tokens(choice: number, tokenIds: readonly number[], offset?: number): void
  finished(choice: number, reason: FinishReason): void
  /** What the client holds of a choice. */
  held(choice: number): number
  answer(error?: unknown): Answer
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Record = Mutable<Omit<ChoiceAnswer, 'tokenIds'>> & { readonly tokenIds: number[]; lastMs: number }

export function recordAnswer(numChoices: number, nowMs: () => number): Recorder {
  const startMs = nowMs()
  const problems: string[] = []
  const choices = Array.from({ length: numChoices }, (): Record => ({
    tokenIds: [],
    finishReason: undefined,
    numEnds: 0,
    numDuplicated: 0,
    firstMs: 0,
    longestGapMs: 0,
    lastMs: startMs,
  }))
  const at = (choice: number): Record | undefined => {
    const record = choices[choice]
    if (record === undefined) problems.push(`choice ${choice} was not asked for`)
    return record
  }
  const measure = (record: Record): void => {
    const gapMs = nowMs() - record.lastMs
    record.lastMs += gapMs
    if (record.tokenIds.length === 0) record.firstMs = gapMs
    else record.longestGapMs = Math.max(record.longestGapMs, gapMs)
  }
  return {
    tokens: (choice, tokenIds, offset) => {
      const record = at(choice)
      if (record === undefined || tokenIds.length === 0) return
      measure(record)
      if (record.numEnds > 0) problems.push(`choice ${choice}: tokens after its end`)
      const start = offset ?? record.tokenIds.length
      if (start > record.tokenIds.length) {
        problems.push(`choice ${choice}: want token ${record.tokenIds.length} next, found ${start}`)
      }
      const numAgain = Math.min(tokenIds.length, Math.max(0, record.tokenIds.length - start))
      record.numDuplicated += numAgain
      record.tokenIds.push(...tokenIds.slice(numAgain))
    },
    finished: (choice, reason) => {
      const record = at(choice)
      if (record === undefined) return
      record.numEnds += 1
      record.finishReason = reason
    },
    held: (choice) => choices[choice]?.tokenIds.length ?? 0,
    answer: (error) => {
      const ends = choices.flatMap(({ numEnds, finishReason }, i) =>
        numEnds === 1 && (finishReason === 'stop' || finishReason === 'length')
          ? []
          : [`choice ${i}: want one end, found ${numEnds} (${finishReason ?? 'no reason'})`],
      )
      const all = [...(error === undefined ? [] : [wordsOf(error)]), ...problems, ...ends]
      return { choices, problem: all.length === 0 ? undefined : all.join('; ') }
    },
  }
}

const wordsOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? `${String(error.code)}: ` : ''
  return `${code}${error instanceof Error ? error.message : String(error)}`
}

/** How many tokens of an answer are not those that were expected; missing and additional ones count. */
export function numDiffering(want: Answer, got: Answer): number {
  return want.choices.reduce((sum, { tokenIds }, i) => {
    const found = got.choices[i]?.tokenIds ?? []
    const length = Math.max(tokenIds.length, found.length)
    return sum + Array.from({ length }, (_, at) => at).filter((at) => tokenIds[at] !== found[at]).length
  }, 0)
}

export const numDuplicated = ({ choices }: Answer): number =>
  choices.reduce((sum, choice) => sum + choice.numDuplicated, 0)

export const numTokens = ({ choices }: Answer): number =>
  choices.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)

/** Per choice, by how much the longest wait for a token grew: for the first one, or between two. */
export function addedGapsMs(quiet: Answer, got: Answer): number[] {
  return quiet.choices.flatMap((before, i) => {
    const after = got.choices[i]
    if (after === undefined || after.tokenIds.length === 0) return []
    return [Math.max(after.firstMs - before.firstMs, after.longestGapMs - before.longestGapMs)]
  })
}
