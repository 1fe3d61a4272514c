// Grows trees with a draft model, wave by wave: the most valuable nodes that it has not expanded, of all sequences, in one
// run. A wave is run while it promises more tokens than its time would yield otherwise.
//
// Invariants
//   W1  A node is expanded after its parent, whichever source proposed it; so a model drafts on from another's nodes.
//   W2  Waves of one call are bounded in number and time.

import type { Clock } from '../../lib/actor/actor.js'
import { NEUTRAL_SAMPLING } from '../../lib/sampling/params.js'
import type { DraftModel, Following, NodeRow } from './draft-model.js'
import { createRanker } from './ranker.js'
import type { SequenceDraft } from './sequence-draft.js'

const CHILDREN = 6 // of an expanded node
const ROWS_PER_SEQUENCE = 6
const MAX_ROWS = 48
const LEAST_VALUE = 0.02
const PRIOR_HIT_RATE = 0.6
const HIT_RATE = 0.05 // of learning
const MAX_DEPTH = 12
const TIME_RATE = 0.2
const FADE = 0.97 // of a time that keeps a wave from running: it may be out of date
const CATCH_UP_ROWS = 8 // of a backlog that one draft is charged with, or
const CATCH_UP_SHARE = 0.25 // of it: the rest serves those after it

/** What a wave must promise. */
export interface Bar {
  readonly tokensPerMs: number // 0: anything pays
  readonly price: number // nodes of a lower value are not used anyway
  readonly maxWaves: number
}

export interface ModelGrowth {
  readonly model: DraftModel
  /** Runs waves while they pay; whether it stopped for the number of waves only. */
  grow(drafts: readonly SequenceDraft[], bar: Bar): boolean
  /** Runs the model a few times on nothing, so that it is compiled and its times are known. */
  warmUp(): void
  /** Learns how often the model's children hold the next token. */
  observe(draft: SequenceDraft, committed: ArrayLike<number>): void
}

export interface ModelGrowthOptions {
  readonly model: DraftModel
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly index: number // among the models
  readonly source: number // its bit
}

export function createModelGrowth({ model, clock, index, source }: ModelGrowthOptions): ModelGrowth {
  const hitRates = Array.from({ length: MAX_DEPTH }, () => PRIOR_HIT_RATE)
  const times = new Map<number, number>() // ms by class of rows
  const viewOf = (draft: SequenceDraft) => draft.views[index]!

  const hitRate = (depth: number): number => hitRates[Math.min(depth, MAX_DEPTH - 1)]!
  const expectedMs = (rows: number): number => times.get(sizeClass(rows)) ?? 0
  const fade = (rows: number): void => void times.set(sizeClass(rows), FADE * expectedMs(rows))
  const pays = (gain: number, tokensPerMs: number, rows: number): boolean => {
    if (gain > tokensPerMs * expectedMs(rows)) return true
    fade(rows)
    return false
  }
  const timed = (rows: number, run: () => void): void => {
    const started = clock.monotonicMs()
    run()
    const ms = clock.monotonicMs() - started
    const known = times.get(sizeClass(rows))
    times.set(sizeClass(rows), known === undefined ? ms : known + TIME_RATE * (Math.min(ms, 4 * known) - known))
  }

  const addChildren = (draft: SequenceDraft, node: number, logits: Float32Array): void => {
    const { tree, sequence } = draft
    const position = sequence.committed.length + tree.depths[node]!
    const ranked = sequence.ranker.rankLogits(logits, sequence.committed, position, CHILDREN)
    for (const { token, probability } of ranked) tree.add(node, token, source, probability)
    viewOf(draft).expanded.add(node)
  }

  /** Those whose roots to run, the ones that promise most for their rows first, as many as pay. */
  const worthFollowing = (drafts: readonly SequenceDraft[], tokensPerMs: number): readonly Behind[] => {
    const behind = drafts.filter((draft) => viewOf(draft).isBehind).map((draft) => behindOf(draft))
    const open = behind
      .filter(({ rows }) => rows > 0 || model.hidden === 0)
      .sort((a, b) => b.gain / b.rows - a.gain / a.rows)
    let [gain, rows, count, best] = [0, 0, 0, 0]
    for (const [i, next] of open.entries()) {
      gain += next.gain
      rows += charged(next.rows)
      const surplus = gain - tokensPerMs * expectedMs(rows)
      if (surplus > best) [count, best] = [i + 1, surplus]
    }
    if (count === 0 && open[0] !== undefined) fade(charged(open[0].rows))
    return open.slice(0, count)
  }

  const behindOf = (draft: SequenceDraft): Behind => {
    const { sequence, tree } = draft
    const entry = { sequence, hidden: viewOf(draft).hidden }
    return { draft, entry, rows: model.backlog(entry), gain: hitRate(0) * (1 - tree.covered()[0]!) }
  }

  /** The roots of sequences whose hidden rows or tokens the model has not taken in. */
  const followRoots = (drafts: readonly SequenceDraft[], { tokensPerMs }: Bar): void => {
    const following = worthFollowing(drafts, tokensPerMs)
    if (following.length === 0) return
    timed(
      following.reduce((sum, { rows }) => sum + rows, 0),
      () => {
        const roots = model.follow(following.map(({ entry }) => entry))
        for (const [i, { draft }] of following.entries()) {
          const view = viewOf(draft)
          view.hidden = []
          const logits = roots[i]
          view.isBehind = logits === undefined && model.backlog({ sequence: draft.sequence, hidden: [] }) > 0
          if (logits !== undefined) addChildren(draft, 0, logits)
        }
      },
    )
  }

  const frontierOf = (drafts: readonly SequenceDraft[], price: number): Frontier[] => {
    const all = drafts.flatMap((draft) => {
      const { tree } = draft
      const { expanded } = viewOf(draft)
      const values = tree.values()
      const sums = tree.covered()
      const open: Frontier[] = []
      for (let node = 1; node < tree.size && !tree.isFull; node++) {
        const isOpen = !expanded.has(node) && expanded.has(tree.parents[node]!) && tree.depths[node]! < MAX_DEPTH
        const rate = hitRate(tree.depths[node]!)
        const value = values[node]! * rate * (1 - sums[node]!)
        if (isOpen && value >= Math.max(price, LEAST_VALUE)) open.push({ draft, node, gain: value - price })
      }
      return open
    })
    const most = Math.min(MAX_ROWS, ROWS_PER_SEQUENCE * drafts.length)
    return all.sort((a, b) => b.gain - a.gain).slice(0, most)
  }

  const runWave = (frontier: readonly Frontier[]): void => {
    const rows = frontier.map(({ draft: { sequence, tree }, node }): NodeRow => ({
      sequence,
      node,
      parent: tree.parents[node]!,
      token: tree.tokens[node]!,
      depth: tree.depths[node]!,
    }))
    timed(rows.length, () => {
      const logits = model.expand(rows)
      frontier.forEach(({ draft, node }, i) => addChildren(draft, node, logits[i]!))
    })
  }

  return {
    model,
    grow: (drafts, bar) => {
      followRoots(drafts, bar)
      for (let wave = 0; wave < bar.maxWaves; wave++) {
        const frontier = frontierOf(drafts, bar.price)
        const gain = frontier.reduce((sum, open) => sum + open.gain, 0)
        if (frontier.length === 0 || !pays(gain, bar.tokensPerMs, frontier.length)) return false
        runWave(frontier)
      }
      return true
    },
    warmUp: () => {
      for (const rows of WARM_UP_ROWS) {
        for (let round = 0; round < WARM_UP_ROUNDS; round++) {
          const ms = runOnce(model, clock, rows)
          times.set(sizeClass(rows), round === 0 ? ms : Math.min(ms, expectedMs(rows)))
        }
      }
    },
    observe: (draft, committed) => {
      const { tree } = draft
      const walk = tree.walk(committed)
      for (const [i, node] of walk.slice(0, committed.length).entries()) {
        if (!viewOf(draft).expanded.has(node)) continue
        const next = walk[i + 1]
        const depth = Math.min(tree.depths[node]!, MAX_DEPTH - 1)
        const isHit = next !== undefined && tree.rawOf(next, source) !== undefined
        hitRates[depth]! += HIT_RATE * ((isHit ? 1 : 0) - hitRates[depth]!)
      }
    },
  }
}

interface Behind {
  readonly draft: SequenceDraft
  readonly entry: Following
  readonly rows: number
  readonly gain: number // expected tokens more
}

interface Frontier {
  readonly draft: SequenceDraft
  readonly node: number
  readonly gain: number // expected tokens more, less what the node for them costs
}

const WARM_UP_ROWS = [1, 2, 4, 6, 12, 24, 48]
const WARM_UP_ROUNDS = 8

/** Milliseconds for a wave of so many rows, all of them siblings below a root that was followed before. */
function runOnce(model: DraftModel, clock: ModelGrowthOptions['clock'], rows: number): number {
  const id = 'warm-up'
  const ranker = createRanker(NEUTRAL_SAMPLING, { choice: 0, promptLength: 1, isShared: false })
  const sequence = { id, scope: '', promptLength: 1, committed: Int32Array.of(0, 0), ranker }
  const hidden = model.hidden === 0 ? [] : [{ from: 0, rows: new Float32Array(model.hidden) }]
  model.follow([{ sequence, hidden }])
  const nodes = Array.from({ length: rows }, (_, i) => ({ sequence, node: i + 1, parent: 0, token: i, depth: 1 }))
  const started = clock.monotonicMs()
  for (const logits of model.expand(nodes)) ranker.rankLogits(logits, sequence.committed, 2, CHILDREN)
  const ms = clock.monotonicMs() - started
  model.forget(id)
  return ms
}

/** Of a backlog the rows that count for one draft. */
const charged = (rows: number): number => Math.max(Math.min(rows, CATCH_UP_ROWS), rows * CATCH_UP_SHARE)

const sizeClass = (rows: number): number => Math.ceil(Math.log2(Math.max(1, rows)))
