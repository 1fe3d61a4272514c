// BurstGPT: CSV of seconds and lengths; newer files have a session and how long the request took. A row without response
// tokens is a request that failed: it is left out and counted.

import { counted, wereOrWas } from '../counted.js'
import { cells, rowCells } from './csv.js'
import { shown } from './fields.js'
import { BadItem, type Item, type RawRequest, type Reader, type TraceFormat } from './format.js'
import { tokens } from './azure.js'

const COLUMNS = ['Timestamp', 'Model', 'Request tokens', 'Response tokens'] as const
const MS_PER_SECOND = 1000

const headerOf = (line: string): readonly string[] | undefined => {
  const names = cells(line)
  return COLUMNS.every((name) => names.includes(name)) ? names : undefined
}

function seconds(name: string, cell: string | undefined): number {
  const value = Number(cell)
  if (cell === undefined || cell === '' || !Number.isFinite(value) || value < 0)
    throw new BadItem(`${name}: want seconds of 0 or more, found ${shown(cell)}`)
  return value * MS_PER_SECOND
}

function createReader(): Reader {
  let header: readonly string[] = []
  let numFailed = 0
  const endMs = new Map<string, number>() // of each session's turn before

  const read = ({ text }: Item): readonly RawRequest[] => {
    const names = headerOf(text)
    if (names !== undefined) {
      header = names
      return []
    }
    const row = rowCells(text)
    if (row.length !== header.length)
      throw new BadItem(`want ${header.length} columns (${header.join(', ')}), found ${row.length}`)
    const cell = (name: string): string | undefined => row[header.indexOf(name)]
    const timeMs = seconds('Timestamp', cell('Timestamp'))
    const numTokens = tokens('Request tokens', cell('Request tokens'))
    const outputTokens = tokens('Response tokens', cell('Response tokens') || '0') // failed ones may have an empty cell
    if (outputTokens === 0) {
      numFailed++
      return []
    }
    const model = cell('Model')
    const session = cell('Session ID')
    const elapsed = cell('Elapsed time')
    const before = session ? endMs.get(session) : undefined
    const durationMs = elapsed ? seconds('Elapsed time', elapsed) : undefined
    if (session && durationMs !== undefined) endMs.set(session, timeMs + durationMs)
    return [
      {
        timeMs,
        prompt: { kind: 'blocks', numTokens, blockTokens: 1, blocks: [] },
        outputTokens,
        sampling: {},
        ...(model && { model }),
        ...(session && { session }),
        ...(durationMs !== undefined && { durationMs }),
        ...(before !== undefined && { delayMs: Math.max(0, timeMs - before) }),
      },
    ]
  }

  return {
    read,
    finish: () => ({
      notices:
        numFailed === 0
          ? []
          : [`${counted(numFailed, 'failed request')} (0 response tokens) ${wereOrWas(numFailed)} left out`],
    }),
  }
}

export const burstgpt: TraceFormat = {
  name: 'burstgpt',
  isDated: false,
  isOrdered: true,
  recognise: ({ items: [first] }) =>
    first !== undefined && headerOf(first.text) !== undefined
      ? undefined
      : `its first line lacks ${COLUMNS.join(', ')}`,
  createReader,
}
