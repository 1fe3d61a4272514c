// In which form an endpoint takes requests, as its refusals and answers tell.
//
// Invariants
//   F1  A refusal changes the form of its own request only; the others follow when that request was then answered.
//   F2  A form that was answered once is never given up: a later refusal is about that one request.

import { REFUSALS, refusedFields, refusesIds, type Extension } from './openai-body.js'

export interface Form {
  readonly refused: ReadonlySet<Extension> // fields that are not sent
  readonly takesIds: boolean
  readonly hasCompletions: boolean
}

/** What one request was sent as. */
export interface Sent {
  readonly kind: 'tokens' | 'text' | 'chat'
  readonly fields: readonly Extension[]
}

export interface Refusal {
  readonly status: number
  readonly text: string
}

export interface Forms {
  readonly current: Form
  /** The form in which a refused request is worth sending again; undefined where there is none. */
  after(form: Form, sent: Sent, refusal: Refusal): Form | undefined
  answered(form: Form, sent: Sent): void
  /** What requests are not sent as they were meant. */
  refusals(): readonly string[]
}

export function createForms(base: string, notice: (line: string) => void): Forms {
  let current: Form = { refused: new Set(), takesIds: true, hasCompletions: true }
  const proven = { fields: new Set<Extension>(), ids: false, completions: false }

  const linesOf = ({ refused, takesIds, hasCompletions }: Form): string[] => [
    ...(refused.size > 0 ? [`${base} refuses ${[...refused].join(', ')}: sending without`] : []),
    ...(hasCompletions ? [] : [`${base} has no /v1/completions: sending chat`]),
    ...(takesIds ? [] : [`${base} takes no token ids: sending text`]),
  ]

  return {
    get current() {
      return current
    },
    after: (form, sent, { status, text }) => {
      const known = union(form.refused, current.refused)
      const doubtful = sent.fields.filter((field) => !proven.fields.has(field))
      const fields = refusedFields(status, text, doubtful)
      if (fields.length > 0) return { ...form, refused: union(known, fields) }
      if (sent.kind !== 'chat' && !proven.completions && (status === 404 || status === 405) && !/model/i.test(text))
        return { ...form, refused: known, hasCompletions: false }
      if (sent.kind === 'tokens' && !proven.ids && refusesIds(status, text))
        return { ...form, refused: known, takesIds: false }
      // What others learnt while this one was away.
      const isOutdated =
        sent.fields.some((field) => current.refused.has(field)) ||
        (sent.kind === 'tokens' && !current.takesIds) ||
        (sent.kind !== 'chat' && !current.hasCompletions)
      return isOutdated && REFUSALS.has(status) ? { ...current, refused: known } : undefined
    },
    answered: (form, sent) => {
      for (const field of sent.fields) proven.fields.add(field)
      proven.ids ||= sent.kind === 'tokens'
      proven.completions ||= sent.kind !== 'chat'
      const news = {
        refused: new Set([...form.refused].filter((field) => !proven.fields.has(field) && !current.refused.has(field))),
        takesIds: form.takesIds || proven.ids || !current.takesIds,
        hasCompletions: form.hasCompletions || proven.completions || !current.hasCompletions,
      }
      const lines = linesOf(news)
      if (lines.length === 0) return
      current = {
        refused: union(current.refused, news.refused),
        takesIds: current.takesIds && news.takesIds,
        hasCompletions: current.hasCompletions && news.hasCompletions,
      }
      for (const line of lines) notice(line)
    },
    refusals: () => linesOf(current),
  }
}

const union = <T>(a: Iterable<T>, b: Iterable<T>): Set<T> => new Set([...a, ...b])
