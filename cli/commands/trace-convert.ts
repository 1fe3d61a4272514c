// `banyan trace convert`: a trace in another format; what the format cannot hold is named on stderr.

import { convertTrace, counted, TARGETS, type Converted } from '../../replay/src/index.js'
import type { Flags } from '../cluster-flags.js'
import { watchSignals } from '../interruption.js'
import { usageError } from '../report-error.js'
import { notify, printJson } from '../terminal.js'
import { readOptions, requireOtherFile, tellLeftOut } from '../trace/reading.js'
import { printLines, writeLines } from '../trace/write-lines.js'

export async function traceConvert(path: string, flags: Flags): Promise<number> {
  const { to, out, json } = flags
  if (typeof to !== 'string' || !TARGETS.includes(to))
    throw usageError(`trace convert: want --to ${TARGETS.join(', ')}, found ${typeof to === 'string' ? to : 'none'}`)
  if (json === true && out === undefined) throw usageError('trace convert: want --out with --json, found none')
  if (typeof out === 'string') await requireOtherFile(path, out)
  const { signal } = watchSignals(process, () => Date.now())
  const converted = await convertTrace(path, to, readOptions(flags))
  if (typeof out === 'string') await writeLines(out, converted.lines, signal)
  else await printLines(converted.lines, signal)
  tell(converted)
  if (json === true) printJson({ ...summaryOf(converted), out })
  else if (typeof out === 'string') notify(`${out}: ${counted(converted.numRequests, 'request')} as ${to}`)
  return 0
}

function tell({ to, losses, ...rest }: Converted): void {
  tellLeftOut(rest)
  if (losses.length > 0) notify(`${to} has no ${losses.join(', no ')}`)
}

const summaryOf = ({ from, to, numRequests, numSpans, losses, notices, skipped }: Converted): object => ({
  from,
  to,
  requests: numRequests,
  spans: numSpans,
  lost: losses,
  notices,
  skipped,
})
