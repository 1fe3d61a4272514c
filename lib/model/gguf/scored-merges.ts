// SentencePiece keeps a score per piece, tokenizer.json a list of merges. Pieces are merged where they make the piece of
// the highest score, so the merges are all pairs of pieces that make a piece, by that score.

/** Merges [left, right] in the order in which they apply; `isPiece` says which tokens text is made of. */
export function scoredMerges(
  tokens: readonly string[],
  scores: readonly number[],
  isPiece: (id: number) => boolean,
): readonly (readonly [left: string, right: string])[] {
  const ids = new Map(tokens.flatMap((text, id) => (isPiece(id) ? [[text, id] as const] : [])))
  const order = [...ids.values()].sort((a, b) => scores[b]! - scores[a]! || a - b)
  return order.flatMap((id) => splits(tokens[id]!, ids))
}

/** The ways to make a piece of two, those of lower ids first. */
function splits(text: string, ids: ReadonlyMap<string, number>): (readonly [string, string])[] {
  const found: { readonly pair: readonly [string, string]; readonly left: number; readonly right: number }[] = []
  let end = 0
  for (const character of text) {
    end += character.length
    const first = text.slice(0, end)
    const left = ids.get(first)
    if (left === undefined) continue // most are none: vocabularies have hundreds of thousands of pieces
    const second = text.slice(end)
    const right = ids.get(second)
    if (right !== undefined) found.push({ pair: [first, second], left, right })
  }
  return found.sort((a, b) => a.left - b.left || a.right - b.right).map(({ pair }) => pair)
}
