// The texts that speculation is measured on. `held-out.txt` holds beginnings of declarations, code and READMEs cut from
// this repository (and from its declarations as tsc writes them) on 2026-11-26: the demonstration model has never seen them.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/package-files.js'

export interface HeldOut {
  readonly name: string // the file it was cut from
  readonly text: string
}

const HEADING = /^=== (.+)\n/m

/** The texts of a file in which each follows a line `=== name`. */
export function parseHeldOut(file: string): HeldOut[] {
  const [, ...parts] = file.split(HEADING)
  return parts.flatMap((name, i) => (i % 2 === 0 ? [{ name, text: (parts[i + 1] ?? '').trimEnd() }] : []))
}

/** The 40 texts, of 40 to 160 tokens; they end in the middle of a line or of a declaration. */
export const readHeldOut = (): HeldOut[] =>
  parseHeldOut(readFileSync(join(packageRoot(), 'bench', 'speculation', 'held-out.txt'), 'utf8'))

const STRIDES = [0, 11, 23] // apart, so that a file has pieces of different files
const BEGINNING = 0.3 // of the first piece's lines
const DECLARED = /\b(?:interface|class|function|type|const) ([A-Za-z]\w*)/

/** Prompts of a file of three pieces, then its beginning again; in every second, what it declares is renamed. */
export function copyingPrompts(pieces: readonly string[], count: number): string[] {
  const pieceAt = (i: number): string => pieces[i % pieces.length] ?? ''
  return Array.from({ length: count }, (_, i) => {
    const file = STRIDES.map((stride) => pieceAt(i + stride)).join('\n\n')
    const beginning = beginningOf(pieceAt(i))
    return `${file}\n\n${i % 2 === 0 ? beginning : renamed(beginning)}`
  })
}

/** Whole lines, then a line up to its last word: a text that ends with its line would begin a new one. */
function beginningOf(piece: string): string {
  const lines = piece.split('\n')
  const numWhole = Math.max(1, Math.round(BEGINNING * lines.length))
  const next = lines[numWhole] ?? ''
  const cut = next.slice(0, Math.max(0, next.trimEnd().lastIndexOf(' '))).trimEnd()
  return [...lines.slice(0, numWhole), ...(cut === '' ? [] : [cut])].join('\n')
}

function renamed(text: string): string {
  const name = DECLARED.exec(text)?.[1]
  return name === undefined ? text : text.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), `${name}Copy`)
}

export interface Repetition {
  readonly ofPrompt: number // share of the answer's lines that the prompt has
  readonly ofItself: number // share of them that only the answer itself had before
}

/** How much of an answer stood somewhere already, by whole lines without their indent; the last, cut one does not count. */
export function repetition(prompt: string, answer: string): Repetition {
  const known = new Set(prompt.split('\n').map((line) => line.trim()))
  const own = new Set<string>()
  const counts = { ofPrompt: 0, ofItself: 0 }
  const [, ...lines] = answer.split('\n').slice(0, -1) // the first goes on with the prompt's last
  const full = lines.map((line) => line.trim()).filter((line) => line !== '')
  for (const line of full) {
    if (known.has(line)) counts.ofPrompt += 1
    else if (own.has(line)) counts.ofItself += 1
    own.add(line)
  }
  const share = (count: number): number => (full.length === 0 ? 0 : count / full.length)
  return { ofPrompt: share(counts.ofPrompt), ofItself: share(counts.ofItself) }
}
