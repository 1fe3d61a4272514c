// How much of the prompts was there before: what a prefix cache of unlimited size would have saved.

import { hashBlocks } from '../../../lib/traffic/request-record.js'
import type { TracePrompt, TraceRequest } from '../trace.js'

const BLOCK_TOKENS = 16 // of prompts with ids, which any size of block can be made of

export interface PrefixSharing {
  readonly requests: number // whose blocks are known
  readonly promptTokens: number
  readonly blocks: number
  readonly uniqueBlocks: number
  readonly mostUses: number // of one block
  /** Tokens in blocks seen before, wherever they stand in the prompt, by all tokens. */
  readonly sharedTokenRatio: number
  /** Tokens of leading blocks seen before, by all tokens. */
  readonly idealHitRate: number
  /** The ideal hit rate up to each request, thinned out: [arrival in ms, rate]. */
  readonly hitRateOverTime: readonly (readonly [number, number])[]
}

interface Block {
  readonly name: string
  readonly numTokens: number
}

function blocksOf(prompt: TracePrompt): readonly Block[] | undefined {
  const cut = (names: readonly string[], numTokens: number, blockTokens: number): Block[] =>
    names.map((name, i) => ({ name, numTokens: Math.max(0, Math.min(blockTokens, numTokens - i * blockTokens)) }))
  if (prompt.kind === 'tokens') return cut(hashBlocks(prompt.tokens, BLOCK_TOKENS), prompt.tokens.length, BLOCK_TOKENS)
  if (prompt.kind !== 'blocks' || prompt.blocks.length === 0) return undefined
  return cut(prompt.blocks, prompt.numTokens, prompt.blockTokens)
}

const MAX_POINTS = 200

/** Undefined where no prompt tells its blocks. */
export function prefixSharingOf(requests: readonly TraceRequest[]): PrefixSharing | undefined {
  const uses = new Map<string, number>()
  let [numKnown, promptTokens, numBlocks, sharedTokens, hitTokens] = [0, 0, 0, 0, 0]
  const points: (readonly [number, number])[] = []
  const everyNth = Math.max(1, Math.ceil(requests.length / MAX_POINTS))
  requests.forEach(({ prompt, arrivalMs }, i) => {
    const blocks = blocksOf(prompt)
    if (blocks === undefined) return
    numKnown++
    promptTokens += prompt.kind === 'blocks' ? prompt.numTokens : prompt.kind === 'tokens' ? prompt.tokens.length : 0
    numBlocks += blocks.length
    let isPrefix = true
    for (const { name, numTokens } of blocks) {
      const before = uses.get(name) ?? 0
      isPrefix &&= before > 0
      if (before > 0) sharedTokens += numTokens
      if (isPrefix) hitTokens += numTokens
      uses.set(name, before + 1)
    }
    if (i % everyNth === 0 || i === requests.length - 1) points.push([arrivalMs, hitTokens / Math.max(1, promptTokens)])
  })
  if (numKnown === 0) return undefined
  return {
    requests: numKnown,
    promptTokens,
    blocks: numBlocks,
    uniqueBlocks: uses.size,
    mostUses: [...uses.values()].reduce((most, count) => Math.max(most, count), 0),
    sharedTokenRatio: sharedTokens / Math.max(1, promptTokens),
    idealHitRate: hitTokens / Math.max(1, promptTokens),
    hitRateOverTime: points,
  }
}
