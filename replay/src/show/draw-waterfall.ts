// A waterfall as lines for a terminal of some width: names, bars on one axis of time, durations, processes.

import { duration, sparkline } from '../analyze/words.js'
import { greatest } from '../statistics.js'
import type { Waterfall, WaterfallRow } from './waterfall.js'

export type PieceStyle = 'plain' | 'dim' | 'bold' | 'bar' | 'alarm'

export interface DrawnPiece {
  readonly text: string
  readonly style: PieceStyle
}

export type DrawnLine = readonly DrawnPiece[]

const NARROW = 70 // columns: below, processes and details have no room
const MIN_BAR = 12
const MAX_NAME = 34
const TIME = 10
const BLANK = ' '

interface Columns {
  readonly name: number
  readonly bar: number
  readonly rest: number // 0: not drawn
}

export function drawWaterfall({ durationMs, rows }: Waterfall, width: number): DrawnLine[] {
  const columns = columnsFor(rows, width)
  const end = duration(durationMs)
  const axis = `0${end.padStart(Math.max(columns.bar - 1, end.length + 1))}`
  const head: DrawnLine = [{ text: BLANK.repeat(columns.name + 1) + axis, style: 'dim' }]
  return [head, ...rows.map((row) => drawRow(row, durationMs, columns))]
}

function columnsFor(rows: readonly WaterfallRow[], width: number): Columns {
  const longest = greatest(rows.map((row) => labelOf(row).length))
  const name = Math.min(Math.max(8, longest), MAX_NAME, Math.max(8, Math.floor(width * 0.4)))
  const notes = Math.max(0, greatest(rows.map((row) => noteOf(row).length)))
  const rest = width < NARROW ? 0 : Math.min(notes, Math.floor(width * 0.3))
  const bar = Math.max(MIN_BAR, width - name - TIME - (rest > 0 ? rest + 1 : 0) - 2)
  return { name, bar, rest }
}

const labelOf = ({ depth, name, kind }: WaterfallRow): string =>
  `${BLANK.repeat(depth)}${kind === 'event' ? '◆ ' : ''}${name}`
const noteOf = ({ process, detail }: WaterfallRow): string => [process, detail].filter((text) => text !== '').join('  ')

/** At most so many characters, the last one telling that there were more. */
const fit = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text.padEnd(width)

function drawRow(row: WaterfallRow, durationMs: number, { name, bar, rest }: Columns): DrawnLine {
  const isDim = row.kind === 'wait' || row.kind === 'folded'
  const style: PieceStyle =
    row.isError || row.kind === 'event' ? 'alarm' : isDim ? 'dim' : row.depth === 0 ? 'bold' : 'plain'
  const time = row.kind === 'event' ? `@${duration(row.startMs)}` : duration(row.endMs - row.startMs)
  return [
    { text: `${fit(labelOf(row), name)} `, style },
    { text: barOf(row, durationMs, bar), style: row.isError ? 'alarm' : isDim ? 'dim' : 'bar' },
    { text: time.padStart(TIME), style: 'plain' },
    ...(rest > 0 ? [{ text: ` ${fit(noteOf(row), rest).trimEnd()}`, style: 'dim' } as const] : []),
  ]
}

function barOf(row: WaterfallRow, durationMs: number, width: number): string {
  const column = (ms: number): number => Math.min(width - 1, Math.max(0, Math.floor((ms / (durationMs || 1)) * width)))
  if (row.marks !== undefined) return tokensPerColumn(row.marks, column, width)
  const [start, end] = [column(row.startMs), column(row.endMs)]
  const glyph = row.kind === 'event' ? '◆' : row.kind === 'wait' ? '░' : row.kind === 'folded' ? '┄' : '█'
  const isShort = row.kind === 'span' && row.endMs - row.startMs < durationMs / width / 2
  const bar = isShort ? '▏' : glyph.repeat(Math.max(1, end - start + (row.endMs >= durationMs ? 1 : 0)))
  return (BLANK.repeat(start) + bar).slice(0, width).padEnd(width)
}

function tokensPerColumn(
  marks: readonly (readonly [number, number])[],
  column: (ms: number) => number,
  width: number,
): string {
  const counts = new Array<number>(width).fill(0)
  for (const [ms, count] of marks) counts[column(ms)] = (counts[column(ms)] ?? 0) + count
  return sparkline(counts)
}
