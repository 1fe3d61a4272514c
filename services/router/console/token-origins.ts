// How each token of a sequence came, and the trees of its last steps: kept while a console is open, for as long as the
// sequence lives.

import type { ConsoleTree, TokenOrigin } from '../../../lib/console/frame.js'
import type { BareStepTree } from '../sequence.js'

const KEEP_TREES = 12

/** A tree without texts, numbered so that a reader knows which it has. */
export interface KeptTree extends Omit<ConsoleTree, 'nodes' | 'bonus'>, Pick<BareStepTree, 'nodes'> {
  readonly serial: number
  readonly bonus: number | undefined // token
}

export interface TokenOrigins {
  /** Tokens of a step, the first of them at `offset`. */
  note(offset: number, step: number, origins: readonly TokenOrigin[]): void
  origin(offset: number): TokenOrigin
  step(offset: number): number // 0: not known
  keep(tree: Omit<KeptTree, 'serial'>): void
  readonly trees: readonly KeptTree[]
}

export function createTokenOrigins(): TokenOrigins {
  let first = 0
  let origins: TokenOrigin[] = []
  let steps: number[] = []
  let trees: KeptTree[] = []
  let numTrees = 0
  return {
    note: (offset, step, news) => {
      if (offset !== first + origins.length) {
        first = offset // nobody looked for a while
        origins = []
        steps = []
      }
      origins.push(...news)
      steps.push(...news.map(() => step))
    },
    origin: (offset) => origins[offset - first] ?? '',
    step: (offset) => steps[offset - first] ?? 0,
    keep: (tree) => {
      trees = [...trees, { ...tree, serial: (numTrees += 1) }].slice(-KEEP_TREES)
    },
    get trees() {
      return trees
    },
  }
}

/** The origins of a step's tokens: accepted nodes by their sources, then the bonus token; without drafts a plain one. */
export function originsOf(
  tree: Pick<BareStepTree, 'nodes' | 'accepted'> | undefined,
  numTokens: number,
): TokenOrigin[] {
  if (tree === undefined) return ['plain']
  const last: TokenOrigin = tree.nodes.length > 1 ? 'bonus' : 'plain'
  const accepted = tree.accepted.slice(1).map((node) => tree.nodes[node]?.sources.join('+') ?? '')
  return [...accepted, last].slice(0, numTokens)
}
