// Lines out of pieces of text, as they come over a connection; a line without end is an error, not a growing buffer.

export interface LineSplitter {
  /** The lines that this piece completes. Throws where one is longer than the bound. */
  push(piece: string): readonly string[]
}

export function createLineSplitter(maxCharacters: number): LineSplitter {
  let rest = ''
  return {
    push: (piece) => {
      const lines = (rest + piece).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > maxCharacters) throw new Error(`a line of more than ${maxCharacters} characters`)
      return lines.filter((line) => line !== '')
    },
  }
}

/** How long to wait before the n-th try in a row (from 0): a quarter second, doubled, at most five; a part of it by chance. */
export const backOffMs = (tries: number, chance: number): number =>
  Math.min(5_000, 250 * 2 ** Math.min(tries, 10)) * (0.75 + chance / 2)
