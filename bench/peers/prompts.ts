// Prompts as token ids, the same for both sides, every one different from its first tokens on, so that no cache of
// prefixes helps. A function of its arguments alone.

/** `count` prompts of `length` tokens; ids at both ends of the vocabulary, where special tokens live, are left out. */
export function drawPrompts(options: {
  readonly seed: number
  readonly count: number
  readonly length: number
  readonly vocabSize: number
}): number[][] {
  const { seed, count, length, vocabSize } = options
  const first = Math.floor(vocabSize / 16)
  const range = Math.max(1, vocabSize - 2 * first)
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return first + (Math.floor(state / 2 ** 8) % range) // the low bits of this generator repeat early
  }
  return Array.from({ length: count }, () => Array.from({ length }, next))
}
