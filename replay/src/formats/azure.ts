// Azure's LLM inference traces of 2023 and 2024: CSV of wall-clock times and lengths, nothing else. Times of 2023 have
// seven decimals and no zone, those of 2024 up to six and a zone; both may lack the decimals.

import type { ReaderOptions, TraceFormat, Reader, Sample } from './format.js'
import { BadItem } from './format.js'
import { cells, rowCells } from './csv.js'
import { checkCount, shown } from './fields.js'

const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'
const TIME = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2}):(\d{2})(\.\d+)?(Z|[+-]\d{2}:?\d{2})?$/
const MS_PER_SECOND = 1000
const FIRST_YEAR_WITH_ZONES = 2024

interface WallClock {
  readonly timeMs: number
  readonly year: number
  readonly hasZone: boolean
}

function parseTime(cell: string): WallClock | undefined {
  const match = TIME.exec(cell)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second, fraction = '0', zone = 'Z'] = match
  const whole = Date.parse(
    `${year}-${month}-${day}T${hour}:${minute}:${second}${zone.replace(/^(...)(\d\d)$/, '$1:$2')}`,
  )
  if (!Number.isFinite(whole)) return undefined
  return { timeMs: whole + Number(fraction) * MS_PER_SECOND, year: Number(year), hasZone: match[8] !== undefined }
}

const COLUMNS = HEADER.split(',')

/** Places of the columns, where a line names them, in whatever order. */
function columnsOf(line: string): readonly number[] | undefined {
  const names = cells(line).map((name) => name.toLowerCase())
  const places = COLUMNS.map((name) => names.indexOf(name.toLowerCase()))
  return names.length === COLUMNS.length && !places.includes(-1) ? places : undefined
}

function createReader(_: ReaderOptions): Reader {
  let columns: readonly number[] = COLUMNS.map((_name, place) => place)
  return {
    read: ({ text }) => {
      const named = columnsOf(text)
      if (named !== undefined) {
        columns = named
        return []
      }
      const row = rowCells(text)
      const [clock = '', context, generated] = columns.map((place) => row[place])
      if (row.length !== COLUMNS.length) throw new BadItem(`want ${HEADER}, found ${shown(text)}`)
      const time = parseTime(clock)
      if (time === undefined) throw new BadItem(`TIMESTAMP: want a date and a time, found ${shown(clock)}`)
      return [
        {
          timeMs: time.timeMs,
          prompt: { kind: 'blocks', numTokens: tokens('ContextTokens', context), blockTokens: 1, blocks: [] },
          outputTokens: tokens('GeneratedTokens', generated),
          sampling: {},
        },
      ]
    },
  }
}

/** A cell as a number of tokens. */
export function tokens(name: string, cell: string | undefined): number {
  if (cell === undefined || !/^-?\d+(\.0+)?$/.test(cell))
    throw new BadItem(`${name}: want a whole number of tokens, found ${shown(cell)}`)
  return checkCount(name, Number(cell))
}

function recogniseYear({ items }: Sample, isWanted: (clock: WallClock) => boolean, wanted: string): string | undefined {
  const [first, ...rows] = items
  const columns = first && columnsOf(first.text)
  if (columns === undefined) return `its first line is not ${HEADER}`
  if (rows.length === 0) return 'it has no row after its header'
  const clock = rows
    .map(({ text }) => parseTime(cells(text)[columns[0] ?? 0] ?? ''))
    .find((found) => found !== undefined)
  if (clock === undefined) return 'no row has a date and a time'
  return isWanted(clock) ? undefined : `its times are not ${wanted}`
}

const is2024 = ({ year, hasZone }: WallClock): boolean => hasZone || year >= FIRST_YEAR_WITH_ZONES

export const azure2023: TraceFormat = {
  name: 'azure-2023',
  isDated: true,
  isOrdered: true,
  recognise: (sample) => recogniseYear(sample, (clock) => !is2024(clock), 'without zone, before 2024'),
  createReader,
}

export const azure2024: TraceFormat = {
  name: 'azure-2024',
  isDated: true,
  isOrdered: true,
  recognise: (sample) => recogniseYear(sample, is2024, 'with a zone, or of 2024 and later'),
  createReader,
}
