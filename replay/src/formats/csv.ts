// A line of comma-separated values as cells.

import { BadItem } from './format.js'

const CELL = /(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g

/** Quotes around a cell are undone. */
export function cells(line: string): string[] {
  if (!line.includes('"')) return line.split(',').map((cell) => cell.trim())
  return [...line.matchAll(CELL)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain?.trim() ?? '')
}

/** The same of a line that is known to be a row. */
export function rowCells(line: string): string[] {
  if (line.split('"').length % 2 === 0)
    throw new BadItem(
      'want quotes that end on their line (line breaks inside cells are not read), found one that does not',
    )
  return cells(line)
}
