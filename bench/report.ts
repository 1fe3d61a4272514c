// Writes bench/RESULTS.md, which several commands share: each owns the text between its two markers and leaves the rest.
//
// Invariants
//   R1  What lies outside the section's markers stays byte for byte.
//   R2  Writing the same body twice changes nothing the second time.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../lib/package-files.js'
import { ClusterError } from '../lib/errors.js'

const EMPTY = '# Results\n'

const markers = (name: string): readonly [string, string] => [`<!-- section:${name} -->`, `<!-- /section:${name} -->`]

/** The text with the section's body exchanged, or added at the end where there was none. Throws on half a pair of markers. */
export function replaceSection(text: string, name: string, body: string): string {
  const [open, close] = markers(name)
  const section = `${open}\n\n${body.trim()}\n\n${close}`
  const start = text.indexOf(open)
  const end = text.indexOf(close)
  if (start === -1 && end === -1) return `${text.trimEnd()}\n\n${section}\n`
  if (start === -1 || end < start) {
    throw new ClusterError('failed_precondition', `results: want ${open} before ${close}, found one alone or swapped`)
  }
  return text.slice(0, start) + section + text.slice(end + close.length)
}

/** Exchanges one section of bench/RESULTS.md; the file is made where it is missing. */
export function writeSection(name: string, body: string): void {
  const file = join(packageRoot(), 'bench', 'RESULTS.md')
  writeFileSync(file, replaceSection(existsSync(file) ? readFileSync(file, 'utf8') : EMPTY, name, body))
}

/** A Markdown table; every row has as many cells as the heading. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(heading), line(heading.map(() => '---')), ...rows.map(line)].join('\n')
}
