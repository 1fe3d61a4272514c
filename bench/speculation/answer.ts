// One request as a client sees it, and what becomes of several.

import type { BanyanClient, GenerateRequest } from '../../sdk/src/index.js'

export interface Answer {
  readonly tokenIds: readonly number[]
  readonly text: string
  readonly promptTokens: number
  readonly steps: number // of prefill too
  readonly numFirst: number // tokens of the first chunk
  readonly firstMs: number // from send to the first chunk
  readonly lastMs: number
}

export const PREFILL_CHUNK = 256 // told to every cluster, so that steps of prefill can be counted
const CALL_TIMEOUT_MS = 120_000

export async function ask(client: BanyanClient, request: GenerateRequest): Promise<Answer> {
  const sentMs = performance.now()
  const tokenIds: number[] = []
  let text = ''
  let numFirst = 0
  let [firstMs, lastMs] = [NaN, NaN]
  for await (const event of client.generate(request, { deadlineMs: CALL_TIMEOUT_MS })) {
    if (event.type === 'finished') {
      const { usage, stats } = event
      return { tokenIds, text, promptTokens: usage.promptTokens, steps: stats.steps, numFirst, firstMs, lastMs }
    }
    if (event.type !== 'chunk') continue
    lastMs = performance.now() - sentMs
    if (tokenIds.length === 0) [numFirst, firstMs] = [event.tokenIds.length, lastMs]
    tokenIds.push(...event.tokenIds)
    text += event.text
  }
  throw new Error('request: want a finished answer, found the end of its stream')
}

const sum = (answers: readonly Answer[], of: (answer: Answer) => number): number =>
  answers.reduce((total, answer) => total + of(answer), 0)

const decodeMs = ({ firstMs, lastMs }: Answer): number => lastMs - firstMs

/** Tokens per second after the first chunk: of decoding alone. */
export const decodeSpeed = (answers: readonly Answer[]): number =>
  (1000 * sum(answers, ({ tokenIds, numFirst }) => tokenIds.length - numFirst)) / sum(answers, decodeMs)

/** Tokens per second from send to the last token: with prefill. */
export const wholeSpeed = (answers: readonly Answer[]): number =>
  (1000 * sum(answers, ({ tokenIds }) => tokenIds.length)) / sum(answers, ({ lastMs }) => lastMs)

/** Tokens per step, steps of prefill included. */
export const tokensPerStep = (answers: readonly Answer[]): number =>
  sum(answers, ({ tokenIds }) => tokenIds.length) / sum(answers, ({ steps }) => steps)

/** Time of a decode step, with all that happens between two of them. For requests that had the cluster to themselves. */
export const stepMs = (answers: readonly Answer[]): number =>
  sum(answers, decodeMs) / sum(answers, ({ steps, promptTokens }) => steps - Math.ceil(promptTokens / PREFILL_CHUNK))

/** Throws where two sides' answers to one request differ: what was measured is then not speculation. */
export function checkEqual(what: string, got: Pick<Answer, 'tokenIds'>, want: Pick<Answer, 'tokenIds'>): void {
  const at = want.tokenIds.findIndex((token, i) => token !== got.tokenIds[i])
  if (at === -1 && got.tokenIds.length === want.tokenIds.length) return
  const place = at === -1 ? want.tokenIds.length : at
  throw new Error(
    `${what}: want token ${want.tokenIds[place] ?? 'none'} at ${place}, found ${got.tokenIds[place] ?? 'none'}`,
  )
}
