// Drafts with Medusa heads (Cai et al., arXiv 2401.10774): each guesses the token at one distance from the last hidden
// state alone, so a level of the tree has the same candidates whatever came before it on the path.
//
// Invariants
//   M1  Head k reads the hidden state of the token before the root and guesses the token k + 1 places after the root.

import { createLinearMap, type LinearMap } from '../../lib/compute/linear-map.js'
import { concat } from '../../lib/compute/concat.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import type { CandidateTree } from './candidate-tree.js'
import type { DraftSequence } from './draft-source.js'
import type { HeadFile } from './head-file.js'
import type { Ranked } from './ranker.js'

const TOP_K = 8 // candidates of a head
const MAX_NODES = 40
const MIN_VALUE = 0.01

export interface HeadDraft {
  readonly sequence: DraftSequence
  readonly tree: CandidateTree
  readonly hidden: Float32Array // [hidden], of the token before the root
}

export interface Medusa {
  readonly name: string
  readonly numHeads: number
  propose(drafts: readonly HeadDraft[], source: number): void
  dispose(): void
}

interface Head {
  readonly residual: LinearMap
  readonly logits: LinearMap
}

export function createMedusa(
  checkpoint: Checkpoint,
  file: HeadFile,
  { kernels, format }: { readonly kernels: Kernels; readonly format: WeightFormat },
): Medusa {
  const { hidden, vocabSize } = checkpoint.spec
  const heads: Head[] = []
  do {
    const k = heads.length
    const residual = file.linear(`res.${k}`, hidden, hidden)
    const logits = file.linear(`heads.${k}`, hidden, vocabSize)
    heads.push({
      residual: createLinearMap(kernels, residual, format),
      logits: createLinearMap(kernels, logits, format),
    })
  } while (file.has(`heads.${heads.length}.weight`))

  /** z = h + SiLU(W h + b), row by row. */
  const stateOf = (head: Head, rows: readonly Float32Array[]): Float32Array => {
    const x = concat(rows)
    const added = concat(head.residual.run(x))
    return x.map((value, i) => value + added[i]! / (1 + Math.exp(-added[i]!)))
  }

  return {
    name: 'medusa',
    numHeads: heads.length,
    propose: (drafts, source) => {
      const rows = drafts.map((draft) => draft.hidden)
      const levels: Ranked[][][] = drafts.map(() => []) // [draft][head]: candidates
      for (const [k, head] of heads.entries()) {
        head.logits.run(stateOf(head, rows)).forEach((logits, i) => {
          const { ranker, committed } = drafts[i]!.sequence
          levels[i]!.push(ranker.rankLogits(logits, committed, committed.length + k, TOP_K))
        })
      }
      drafts.forEach(({ tree }, i) => growProduct(tree, levels[i]!, source))
    },
    dispose: () => {
      for (const { residual, logits } of heads) {
        residual.dispose()
        logits.dispose()
      }
    },
  }
}

interface Candidate {
  readonly parent: number
  readonly depth: number // of the candidate, from 1
  readonly rank: number // among its head's
  readonly value: number
}

/** Adds the most probable paths, as if the heads were independent. */
function growProduct(tree: CandidateTree, levels: readonly (readonly Ranked[])[], source: number): void {
  const open: Candidate[] = []
  const offer = (parent: number, depth: number, rank: number, parentValue: number): void => {
    const candidate = levels[depth - 1]?.[rank]
    if (candidate !== undefined) open.push({ parent, depth, rank, value: parentValue * candidate.probability })
  }
  const values = new Map([[0, 1]])
  offer(0, 1, 0, 1)
  for (let added = 0; added < MAX_NODES && open.length > 0; added++) {
    const best = open.reduce((most, candidate, i) => (candidate.value > open[most]!.value ? i : most), 0)
    const [{ parent, depth, rank, value }] = open.splice(best, 1) as [Candidate] // open is not empty
    if (value < MIN_VALUE) return
    const { token, probability } = levels[depth - 1]![rank]!
    const node = tree.add(parent, token, source, probability)
    if (node === undefined) return
    values.set(node, value)
    offer(parent, depth, rank + 1, values.get(parent) ?? 0)
    offer(node, depth + 1, 0, value)
  }
}
