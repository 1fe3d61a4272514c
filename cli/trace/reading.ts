// What the commands that read traces have in common: their flags, and the words about what was left out.

import { realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { ReadOptions, SkippedLine } from '../../replay/src/index.js'
import type { Flags } from '../cluster-flags.js'
import { usageError } from '../report-error.js'
import { notify } from '../terminal.js'

const SHOWN_LINES = 5

export function readOptions({ skipBad, blockTokens }: Flags): ReadOptions {
  if (blockTokens === 0) throw usageError('--block-tokens: want at least 1, found 0')
  return { skipBad: skipBad === true, ...(typeof blockTokens === 'number' && { blockTokens }) }
}

/** What is written never takes the place of what is read. */
export async function requireOtherFile(path: string, out: string): Promise<void> {
  const [source, target] = await Promise.all([path, out].map((name) => realpath(name).catch(() => undefined)))
  if (target !== undefined && (target === source || dirname(target) === source))
    throw usageError(`--out: want another file than those of the trace, found ${out}`)
}

export interface LeftOut {
  readonly notices?: readonly string[]
  readonly skipped: readonly SkippedLine[]
}

export function tellLeftOut({ notices = [], skipped }: LeftOut): void {
  for (const notice of notices) notify(notice)
  for (const { file, line, problem } of skipped.slice(0, SHOWN_LINES)) notify(`left out ${file}:${line}: ${problem}`)
  if (skipped.length > SHOWN_LINES) notify(`left out ${skipped.length} broken lines in all`)
}
