import fc from 'fast-check'
import type { TokenTree } from '../../../lib/speculative/token-tree.js'

/** Any tree of 1 to `maxNodes` nodes over `vocabSize` tokens: distinct children, parents first. */
export function anyTree({ maxNodes, vocabSize }: { maxNodes: number; vocabSize: number }): fc.Arbitrary<TokenTree> {
  const node = fc.record({
    token: fc.nat(vocabSize - 1),
    parent: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })
  return fc.tuple(fc.nat(vocabSize - 1), fc.array(node, { maxLength: maxNodes - 1 })).map(([root, nodes]) => {
    const tokens = [root]
    const parents = [-1]
    for (const { token, parent: share } of nodes) {
      const parent = Math.floor(share * tokens.length)
      if (tokens.some((other, i) => other === token && parents[i] === parent)) continue
      tokens.push(token)
      parents.push(parent)
    }
    return { tokens, parents }
  })
}
