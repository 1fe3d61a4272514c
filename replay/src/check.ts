// Whether a replay's answers are those that were recorded.
//
// Invariants
//   B1  Against an equal fingerprint every recorded id must have come again: one that did not is a difference, and an
//       answer that did not come at all, or without its ids, is no proof.
//   B2  Of a recording that broke off, its ids are the beginning of the replayed answer.
//   B3  Against another fingerprint nothing is proven and nothing fails: what differs in it and how far answers agree is
//       reported. So it is with each answer of a recording that has several fingerprints.

import { hashTokens } from '../../lib/traffic/request-record.js'
import type { Answer } from './measure.js'
import type { RecordedAnswer, Trace, TraceRequest } from './trace.js'
import { TraceError } from './trace-error.js'

export interface Difference {
  readonly requestId: string // in the trace
  readonly replayedAs: string
  readonly choice: number
  /** The first token that differs; undefined where only hashes were recorded. */
  readonly offset: number | undefined
  readonly recorded: readonly number[] | undefined
  readonly replayed: readonly number[]
}

export type Comparison = 'equal' | 'differs' | 'failed' | 'untold' | 'not_comparable'

export interface ComparedAnswer {
  readonly answer: Answer
  readonly result: Comparison
  readonly isSameFingerprint: boolean
  readonly difference?: Difference
  readonly commonPrefix?: { readonly tokens: number; readonly of: number } // first choice that differs, else all
}

export interface CheckReport {
  readonly mode: 'exact' | 'divergence'
  readonly isProven: boolean // exact, and every answer that was recorded with this fingerprint came again
  readonly compared: number // in exact mode those of the same fingerprint
  readonly equal: number
  readonly differing: number
  readonly failed: number // no answer came
  readonly untold: number // the endpoint did not tell its answer's ids
  /** In exact mode, answers that were recorded with another fingerprint: they prove nothing, and fail nothing. */
  readonly others: { readonly compared: number; readonly equal: number }
  readonly notCompared: number // nothing was recorded to compare with, or the run was interrupted before
  readonly equalShare: number
  readonly meanCommonPrefix: { readonly tokens: number; readonly share: number }
  readonly recordedFingerprints: readonly string[]
  readonly servedFingerprints: readonly string[]
  readonly fingerprintDifferences: readonly FingerprintDifference[]
  readonly differences: readonly Difference[] // the first of them, in the trace's order
}

export interface FingerprintDifference {
  readonly part: string
  readonly recorded: string
  readonly served: string
}

const MAX_DIFFERENCES = 10

/** Throws `failed_precondition` where the trace has no answers or prompts to check with. */
export function requireCheckable(requests: readonly TraceRequest[]): void {
  const answered = requests.filter(({ recorded }) => recorded !== undefined)
  if (answered.length === 0) {
    throw new TraceError('failed_precondition', 'check: want a trace with recorded answers, found none in this one')
  }
  if (answered.every(({ prompt }) => prompt.kind === 'blocks')) {
    throw new TraceError(
      'failed_precondition',
      'check: want recorded prompts, found only their hashes (recorded with --trace-content hash; ids or text can be checked)',
    )
  }
}

/** Whether a request of the trace can be sent and its answer compared. */
export const isCheckable = ({ prompt, recorded }: TraceRequest): boolean =>
  recorded !== undefined && prompt.kind !== 'blocks'

/** `served` is the endpoint's fingerprint, where its answers do not tell one themselves. */
export function compareAnswer(answer: Answer, served: string | undefined): ComparedAnswer {
  const { request } = answer.dispatch.planned
  const { recorded } = request
  const isSameFingerprint =
    recorded?.fingerprint !== undefined && recorded.fingerprint === (answer.fingerprint ?? served)
  if (recorded === undefined || request.prompt.kind === 'blocks' || answer.failure?.kind === 'cancelled')
    return { answer, result: 'not_comparable', isSameFingerprint }
  if (!recorded.isWhole && recorded.numTokens.every((count) => count === 0))
    // nothing had come yet
    return { answer, result: 'not_comparable', isSameFingerprint }
  if (answer.failure !== undefined) return { answer, result: 'failed', isSameFingerprint }
  if (answer.choices.some(({ tokenIds, chunks }) => tokenIds === undefined && chunks.length > 0))
    return { answer, result: 'untold', isSameFingerprint }
  return { answer, isSameFingerprint, ...compareIds(request.id, recorded, answer) }
}

function compareIds(
  requestId: string,
  recorded: RecordedAnswer,
  answer: Answer,
): Pick<ComparedAnswer, 'result' | 'difference' | 'commonPrefix'> {
  let tokens = 0
  let of = 0
  for (const [choice, numTokens] of recorded.numTokens.entries()) {
    const ids = answer.choices[choice]?.tokenIds ?? []
    const wanted = recorded.tokenIds?.[choice]
    const replayed = recorded.isWhole ? ids : ids.slice(0, numTokens)
    const common = wanted === undefined ? undefined : commonPrefix(wanted, replayed)
    const isEqual =
      wanted === undefined
        ? replayed.length === numTokens && hashTokens(replayed) === recorded.tokenHashes?.[choice]
        : common === wanted.length && common === replayed.length
    tokens += isEqual ? numTokens : (common ?? 0)
    of += numTokens
    if (isEqual) continue
    const difference = { requestId, replayedAs: answer.id, choice, offset: common, recorded: wanted, replayed: ids }
    return { result: 'differs', difference, ...(common !== undefined && { commonPrefix: { tokens, of } }) }
  }
  const choice = recorded.numTokens.length
  const more = answer.choices[choice]
  if (more === undefined) return { result: 'equal', commonPrefix: { tokens, of } }
  const difference = {
    requestId,
    replayedAs: answer.id,
    choice,
    offset: 0,
    recorded: [],
    replayed: more.tokenIds ?? [],
  }
  return { result: 'differs', difference, commonPrefix: { tokens, of } }
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1
  return length
}

export interface Served {
  readonly fingerprint: string | undefined
  readonly parts: Readonly<Record<string, string>>
}

export function checkRun(
  answers: readonly Answer[],
  { requests }: Pick<Trace, 'requests'>,
  served: Served,
): CheckReport {
  const all = answers.map((answer) => compareAnswer(answer, served.fingerprint))
  const numOf = (result: Comparison): number => all.filter((one) => one.result === result).length
  const isExact = all.some(({ isSameFingerprint }) => isSameFingerprint)
  const ran = all.filter(({ result }) => result === 'equal' || result === 'differs')
  const compared = ran.filter(({ isSameFingerprint }) => isSameFingerprint === isExact)
  const others = ran.filter(({ isSameFingerprint }) => isSameFingerprint !== isExact)
  const prefixes = compared.flatMap(({ commonPrefix: prefix }) => prefix ?? [])
  const differing = compared.filter(({ result }) => result === 'differs')
  const equal = compared.length - differing.length
  const failed = numOf('failed')
  const untold = numOf('untold')
  const recorded = requests.flatMap(({ recorded: answer }) => answer ?? [])
  return {
    mode: isExact ? 'exact' : 'divergence',
    isProven: isExact && differing.length === 0 && failed === 0 && untold === 0 && compared.length > 0,
    compared: compared.length,
    equal,
    differing: differing.length,
    failed,
    untold,
    others: { compared: others.length, equal: others.filter(({ result }) => result === 'equal').length },
    notCompared: numOf('not_comparable'),
    equalShare: compared.length === 0 ? 0 : equal / compared.length,
    meanCommonPrefix: {
      tokens: average(prefixes.map(({ tokens }) => tokens)),
      share: average(prefixes.map(({ tokens, of }) => (of === 0 ? 1 : tokens / of))),
    },
    recordedFingerprints: unique(recorded.map(({ fingerprint }) => fingerprint)),
    servedFingerprints: unique([...answers.map(({ fingerprint }) => fingerprint), served.fingerprint]),
    fingerprintDifferences: isExact && others.length === 0 ? [] : differencesOf(recorded, served),
    differences: differing.slice(0, MAX_DIFFERENCES).flatMap(({ difference }) => difference ?? []),
  }
}

const average = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

const unique = (values: readonly (string | undefined)[]): string[] => [
  ...new Set(values.filter((value): value is string => value !== undefined)),
]

/** Part by part, of the first answer that was recorded with another fingerprint and tells its parts. */
function differencesOf(recorded: readonly RecordedAnswer[], served: Served): FingerprintDifference[] {
  const { parts } = served
  const others = recorded.filter(({ fingerprint }) => fingerprint !== served.fingerprint)
  const was = others.find(({ fingerprintParts }) => fingerprintParts !== undefined)?.fingerprintParts ?? {}
  return Object.entries(was)
    .filter(([part, value]) => parts[part] !== undefined && parts[part] !== value)
    .map(([part, value]) => ({ part, recorded: value, served: parts[part] ?? '' }))
}
