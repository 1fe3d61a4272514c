// A text decoded plainly, and through token trees: the two that speculation must not tell apart.

import type { SampleContext, Sampler } from '../../../lib/sampling/sampler.js'
import { ancestors, type TokenTree } from '../../../lib/speculative/token-tree.js'
import { verify, type IsEnd, type Verification } from '../../../services/router/verify.js'

export interface Decoding {
  readonly prompt: readonly number[]
  readonly logits: (prefix: readonly number[]) => Float32Array
  readonly isEnd: (token: number, numOutput: number) => boolean
}

export function decodePlainly(sampler: Sampler, { prompt, logits, isEnd }: Decoding): number[] {
  const tokens = [...prompt]
  for (;;) {
    const { token } = sampler.sample(logits(tokens), { tokens, promptLength: prompt.length })
    tokens.push(token)
    if (isEnd(token, tokens.length - prompt.length)) return tokens
  }
}

/** What the target computes at a node of a tree. */
export interface NodeRow {
  readonly logits: Float32Array
  readonly context: SampleContext & { readonly tokens: readonly number[] }
}
export type Judge = (tree: TokenTree, rows: readonly NodeRow[], isEnd: IsEnd) => Verification
export type Drafter = (tokens: readonly number[], step: number) => TokenTree // node 0 is the last of the tokens

export const samplesOf = (sampler: Sampler, rows: readonly NodeRow[]): number[] =>
  rows.map(({ logits, context }) => sampler.sample(logits, context).token)

export const replayWith =
  (sampler: Sampler): Judge =>
  (tree, rows, isEnd) =>
    verify(tree, samplesOf(sampler, rows), isEnd)

export function decodeThroughTrees(judge: Judge, draft: Drafter, { prompt, logits, isEnd }: Decoding) {
  const tokens = [...prompt]
  for (let step = 0; ; step++) {
    const tree = draft(tokens, step)
    const rows = Array.from(tree.tokens, (_, node) => {
      const path = ancestors(tree, node).slice(1)
      const prefix = [...tokens, ...path.map((at) => tree.tokens[at]!)]
      return { logits: logits(prefix), context: { tokens: prefix, promptLength: prompt.length } }
    })
    const numBefore = tokens.length - prompt.length
    const { tokens: emitted } = judge(tree, rows, (token, count) => isEnd(token, numBefore + count))
    tokens.push(...emitted)
    if (isEnd(emitted[emitted.length - 1]!, tokens.length - prompt.length)) return { tokens, numSteps: step + 1 }
  }
}

/** The same trees over and over, each rooted at the last token. */
export const draftInTurn =
  (trees: readonly TokenTree[]): Drafter =>
  (tokens, step) => {
    const tree = trees[step % trees.length]!
    return { tokens: Array.from(tree.tokens).with(0, tokens[tokens.length - 1]!), parents: tree.parents }
  }

/** Logits as a scrambled function of every token of the prefix. */
export function scrambledLogits(prefix: readonly number[], vocabSize: number): Float32Array {
  let state = 17
  for (const token of prefix) state = Math.imul(state ^ (token + 1), 0x9e3779b1) ^ (state >>> 15)
  return Float32Array.from({ length: vocabSize }, (_, token) => Math.sin(state * (token + 1)) * 2)
}
