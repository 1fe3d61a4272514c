// Drafts for sequences: all sources build one tree per sequence, its most valuable nodes are proposed. While a step is
// computed the trees are drafted on; what lies below the path that comes true is the start of the next tree.
//
// Invariants
//   G1  A proposal is a tree whose root is the last committed token, of at most `maxNodes` nodes, values falling along
//       every path.
//   G2  What is drafted ahead is used where it fits and dropped where it does not: nobody waits for it.

import type { Calibration } from './calibration.js'
import { CandidateTree } from './candidate-tree.js'
import type { HiddenRows } from './draft-model.js'
import type { DraftSequence, TextSource } from './draft-source.js'
import type { Medusa } from './medusa.js'
import type { ModelGrowth } from './model-growth.js'
import { renewViews, type SequenceDraft } from './sequence-draft.js'

export interface Sources {
  readonly texts: readonly TextSource[] // the first of `names`
  readonly medusa: Medusa | undefined
  readonly models: readonly ModelGrowth[]
  readonly names: readonly string[] // of texts, medusa, models and, last, what was drafted ahead
  readonly hidden: number // width of hidden states that some source reads; 0: none does
}

export interface DraftingOptions {
  readonly sources: Sources
  readonly calibration: Calibration
  readonly ahead: boolean
}

/** What to draft for: a sequence with all its committed tokens, of which the last `numNew` are new. */
export interface DraftTask {
  readonly sequence: DraftSequence
  readonly numNew: number
  readonly hidden: HiddenRows | undefined
}

export interface DraftBar {
  readonly maxNodes: number
  readonly tokensPerMs: number
  readonly price: number
}

export interface Draft {
  readonly tokens: Int32Array // [nodes]
  readonly parents: Int32Array // [nodes], -1 for node 0
  readonly values: Float32Array // [nodes], estimated probability that the path to the node is accepted
  readonly sources: Int32Array // [nodes], bit i: source i of `names`
}

export interface Drafting {
  propose(tasks: readonly DraftTask[], bar: DraftBar): Draft[]
  /** Drafts on where a proposal stopped; false when there is nothing left that pays. */
  ahead(): boolean
  forget(sequence: DraftSequence): void
  /** Forgets every sequence. */
  clear(): void
}

const TREE_CAPACITY = 256
const MAX_HIDDEN_ROWS = 256 // of a sequence that wait for a model; older ones are dropped
const MAX_WAVES = 8
const MAX_AHEAD_SEQUENCES = 2 // more of them fill the machine themselves
const MAX_AHEAD_WAVES = 8
const LEAST_SHARE = 0.25 // of the price: what a source says before it is calibrated may be too low by so much

export function createDrafting({ sources, calibration, ahead }: DraftingOptions): Drafting {
  const { texts, medusa, models, names } = sources
  const drafts = new Map<string, SequenceDraft>()
  const medusaIndex = texts.length
  const aheadIndex = names.length - 1
  let current: readonly SequenceDraft[] = [] // of the step that is computed
  let bar: DraftBar = { maxNodes: 1, tokensPerMs: 0, price: 0 }
  let numAheadWaves = 0

  const newTree = ({ committed, ranker }: DraftSequence): CandidateTree =>
    new CandidateTree(committed[committed.length - 1]!, calibration.for(ranker.isGreedy), TREE_CAPACITY)

  const open = (sequence: DraftSequence): SequenceDraft => {
    const views = models.map(() => ({ hidden: [], expanded: new Set<number>(), isBehind: true }))
    const draft = { sequence, tree: newTree(sequence), views, lastHidden: undefined }
    drafts.set(sequence.id, draft)
    return draft
  }

  /** Takes in what was committed since the last tree, and begins the next one. */
  const moveOn = ({ sequence, numNew, hidden }: DraftTask): SequenceDraft => {
    const known = drafts.get(sequence.id)
    const draft = known ?? open(sequence)
    const { committed } = sequence
    const added = committed.subarray(committed.length - numNew)
    for (const source of texts) source.observe(sequence, committed.length - numNew)
    if (numNew > 0) draft.lastHidden = undefined // of another root
    if (hidden !== undefined) takeHidden(draft, hidden)
    if (numNew === 0) return draft
    if (known !== undefined) {
      calibration.observe(draft.tree, sequence.ranker.isGreedy, added)
      for (const growth of models) growth.observe(draft, added)
    }
    draft.tree = (ahead && known !== undefined ? inherited(draft.tree, added) : undefined) ?? newTree(sequence)
    renewViews(draft)
    return draft
  }

  const inherited = (tree: CandidateTree, added: Int32Array): CandidateTree | undefined => {
    const end = tree.walk(added)[added.length]
    return end === undefined ? undefined : tree.below(end, aheadIndex)
  }

  const takeHidden = (draft: SequenceDraft, hidden: HiddenRows): void => {
    const numRows = hidden.rows.length / sources.hidden
    const isLast = hidden.from + numRows === draft.sequence.committed.length - 1
    draft.lastHidden = isLast && numRows > 0 ? hidden.rows.slice(-sources.hidden) : undefined
    for (const [i, { model }] of models.entries()) {
      const view = draft.views[i]!
      if (model.hidden > 0) view.hidden = recent([...view.hidden, hidden], MAX_HIDDEN_ROWS * sources.hidden)
    }
  }

  const proposeHeads = (active: readonly SequenceDraft[]): void => {
    if (medusa === undefined) return
    const heads = active.flatMap(({ sequence, tree, lastHidden }) =>
      lastHidden === undefined ? [] : [{ sequence, tree, hidden: lastHidden }],
    )
    if (heads.length > 0) medusa.propose(heads, medusaIndex)
  }

  const propose: Drafting['propose'] = (tasks, newBar) => {
    bar = newBar
    current = tasks.map(moveOn)
    numAheadWaves = 0
    const least = newBar.price * LEAST_SHARE
    for (const { sequence, tree } of current) {
      for (const [source, text] of texts.entries()) text.propose({ sequence, tree, source, least })
    }
    proposeHeads(current)
    for (const growth of models) growth.grow(current, { ...bar, maxWaves: MAX_WAVES })
    return current.map(({ tree }) => bestNodes(tree, bar))
  }

  const forget = (sequence: DraftSequence): void => {
    drafts.delete(sequence.id)
    current = current.filter((draft) => draft.sequence.id !== sequence.id)
    for (const source of texts) source.forget(sequence)
    for (const { model } of models) model.forget(sequence.id)
  }

  return {
    propose,
    ahead: () => {
      if (!ahead || current.length > MAX_AHEAD_SEQUENCES || numAheadWaves >= MAX_AHEAD_WAVES) return false
      numAheadWaves += 1
      const shadow = { tokensPerMs: 0, price: bar.price / 2, maxWaves: 1 }
      return models.map((growth) => growth.grow(current, shadow)).some((isOpen) => isOpen)
    },
    forget,
    clear: () => {
      for (const { sequence } of [...drafts.values()]) forget(sequence)
    },
  }
}

/** The last rows that have at most so many values together. */
function recent(parts: readonly HiddenRows[], maxValues: number): HiddenRows[] {
  let numValues = 0
  const first = parts.findLastIndex(({ rows }) => (numValues += rows.length) > maxValues)
  return parts.slice(first + 1)
}

/** The most valuable nodes, parents first; none that are far from being worth their price. */
export function bestNodes(tree: CandidateTree, { maxNodes, price }: Pick<DraftBar, 'maxNodes' | 'price'>): Draft {
  const values = tree.values()
  const least = price / 2 // the router, which sees all sequences, has the last word
  const chosen = [...values.keys()]
    .filter((node) => node === 0 || values[node]! >= least)
    .sort((a, b) => values[b]! - values[a]! || a - b) // equal values: a parent was made before its child
    .slice(0, maxNodes)
  const places = new Map(chosen.map((node, place) => [node, place]))
  return {
    tokens: Int32Array.from(chosen, (node) => tree.tokens[node]!),
    parents: Int32Array.from(chosen, (node) => places.get(tree.parents[node]!) ?? -1),
    values: Float32Array.from(chosen, (node) => values[node]!),
    sources: Int32Array.from(chosen, (node) => tree.sources[node]!),
  }
}
