// A line of comma-separated values as cells.

const CELL = /(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g

/** Quotes around a cell are undone; a line break inside one is not of this world. */
export function cells(line: string): string[] {
  if (!line.includes('"')) return line.split(',').map((cell) => cell.trim())
  return [...line.matchAll(CELL)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain?.trim() ?? '')
}
