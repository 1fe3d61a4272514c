// Text for a terminal as pieces with a style each, so that its width is known before any colour code is in it.

import pc from 'picocolors'

export type Style = 'plain' | 'dim' | 'bold' | 'accepted'

export interface Piece {
  readonly text: string
  readonly style: Style
}

export type Line = readonly Piece[]

export const piece = (text: string, style: Style = 'plain'): Piece => ({ text, style })

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u
const COMBINING = /\p{M}/u

/** Columns that a terminal gives a line. */
export function widthOf(line: Line): number {
  const columns = (char: string): number => (COMBINING.test(char) ? 0 : WIDE.test(char) ? 2 : 1)
  return line.reduce((sum, { text }) => sum + [...text].reduce((width, char) => width + columns(char), 0), 0)
}

export interface WrapOptions {
  readonly separator: Piece // between two items; at a break it ends the line
  readonly width: number
  readonly indent: number // of the lines after the first
}

/** Items on as few lines as hold them; an item alone is never broken. */
export function wrap(items: readonly Line[], { separator, width, indent }: WrapOptions): Line[] {
  const ending = piece(separator.text.trimEnd(), separator.style)
  const lines: Piece[][] = []
  let line: Piece[] = []
  items.forEach((item, i) => {
    const joined = i === 0 ? [...item] : [...line, separator, ...item]
    const isLast = i === items.length - 1
    if (i === 0 || widthOf(isLast ? joined : [...joined, ending]) <= width) line = joined
    else {
      lines.push([...line, ending])
      line = [piece(' '.repeat(indent)), ...item]
    }
  })
  return [...lines, line]
}

export interface PaintOptions {
  readonly color: boolean
}

/** The lines as text; without colour the styles leave no trace. */
export function paint(lines: readonly Line[], { color }: PaintOptions): string {
  const { dim, bold, green } = pc.createColors(color)
  const styles: Record<Style, (text: string) => string> = {
    plain: (text) => text,
    dim,
    bold,
    accepted: (text) => bold(green(text)),
  }
  return lines.map((line) => line.map(({ text, style }) => styles[style](text)).join('')).join('\n')
}
