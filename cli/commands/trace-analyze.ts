// `banyan trace analyze`: what a trace is like, as text, JSON or a page with pictures.

import { analysisHtml, analysisText, analyzeTrace, readTrace } from '../../replay/src/index.js'
import type { Flags } from '../cluster-flags.js'
import { watchSignals } from '../interruption.js'
import { notify, print, printJson } from '../terminal.js'
import { readOptions, requireOtherFile, tellLeftOut } from '../trace/reading.js'
import { writeLines } from '../trace/write-lines.js'

const DEFAULT_WIDTH = 100 // where stdout is no terminal

export async function traceAnalyze(path: string, flags: Flags): Promise<number> {
  if (typeof flags.out === 'string') await requireOtherFile(path, flags.out)
  const { signal } = watchSignals(process, () => Date.now())
  const trace = await readTrace(path, readOptions(flags))
  tellLeftOut({ skipped: trace.skipped })
  const analysis = analyzeTrace(trace)
  if (typeof flags.out === 'string') {
    await writeLines(flags.out, [analysisHtml(analysis)], signal)
    notify(`${flags.out}: the page`)
  }
  if (flags.json === true) printJson(analysis)
  else print(analysisText(analysis, process.stdout.columns ?? DEFAULT_WIDTH))
  return 0
}
