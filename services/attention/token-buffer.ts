// The committed tokens of a sequence, with room behind them: a path to a node of a tree is written there, so that what the
// next token is sampled after is one array and nothing is copied for it.

export interface TokenBuffer {
  readonly length: number
  push(token: number): void
  /** The tokens and room for so many more: a view, until the next push or the next call that wants more room. */
  withRoom(extra: number): Int32Array
}

export function createTokenBuffer(tokens: Int32Array): TokenBuffer {
  let values = tokens.slice()
  let { length } = tokens

  const grow = (wanted: number): void => {
    if (wanted <= values.length) return
    const larger = new Int32Array(Math.max(wanted, 2 * values.length))
    larger.set(values)
    values = larger
  }

  return {
    get length() {
      return length
    },
    push: (token) => {
      grow(length + 1)
      values[length++] = token
    },
    withRoom: (extra) => {
      grow(length + extra)
      return values.subarray(0, length + extra)
    },
  }
}
