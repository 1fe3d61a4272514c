// Keeps what a user writes from becoming a control token once a template has put it beside its own text: a mark, a
// character that is nowhere else, is set into every place where a control token stands or could come to stand.
//
// Invariants
//   CG1  In guarded text no control token's text is whole, and none begins that what follows could complete.
//   CG2  Without the marks it is the text as it was; text without such places has no marks.

export type ControlGuard = (text: string, mark: string) => string

export function controlGuard(controlTexts: readonly string[]): ControlGuard {
  const controls = controlTexts.filter((text) => text.length > 1)
  const alternatives = controls.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`))
  const anywhere = alternatives.length === 0 ? undefined : new RegExp(alternatives.join('|'), 'gu')
  const beginnings = new Set(controls.flatMap((text) => Array.from(text, (_, i) => text.slice(0, i + 1))))
  const longest = controls.reduce((most, { length }) => Math.max(most, length), 0)

  /** The mark goes before white space at the end: templates trim it. */
  const guardEnd = (text: string, mark: string): string => {
    const trimmed = text.trimEnd()
    for (let length = Math.min(longest, trimmed.length); length > 0; length--) {
      if (beginnings.has(trimmed.slice(-length))) return trimmed + mark + text.slice(trimmed.length)
    }
    return text
  }

  return (text, mark) => {
    if (anywhere === undefined) return text
    let guarded = text
    // Again where two of them overlapped.
    for (let before = ''; before !== guarded;) {
      before = guarded
      guarded = before.replace(anywhere, (found) => found.slice(0, 1) + mark + found.slice(1))
    }
    return guardEnd(guarded, mark)
  }
}
