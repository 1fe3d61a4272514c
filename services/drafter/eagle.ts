// Drafts with an EAGLE head: it reads the target's last hidden states of the committed tokens, and at deeper levels its
// own guesses of them.
//
// Invariants
//   E1  Place t holds (hidden state of token t, embedding of token t + 1), rotated by t; its output guesses the hidden
//       state of token t + 1 and so, through the model's own LM head, token t + 2.
//   E2  Committed places are computed from the target's hidden states, never from guesses.
//   E3  Where hidden states are missing (a prefix from the cache, a lost message), the context begins anew after the gap.

import { concat } from '../../lib/compute/concat.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { groupRows, type DraftModel, type Following, type HiddenRows } from './draft-model.js'
import type { DraftSequence } from './draft-source.js'
import type { EagleLayer } from './eagle-layer.js'
import { createEmbeddings } from './embeddings.js'
import { NodeCache } from './node-cache.js'

interface State {
  cache: NodeCache
  first: number // position of the first place
  root: Float32Array | undefined // guess of the hidden state at the root
  readonly guesses: Map<number, Float32Array> // at tree nodes
}

export function createEagle(checkpoint: Checkpoint, layer: EagleLayer): DraftModel {
  const { hidden, pool } = layer
  const states = new Map<string, State>()
  const embeddings = createEmbeddings(checkpoint)

  const stateOf = (id: string): State => {
    const known = states.get(id)
    if (known !== undefined) return known
    const state = { cache: new NodeCache(pool), first: 0, root: undefined, guesses: new Map<number, Float32Array>() }
    states.set(id, state)
    return state
  }

  /** The places that can be computed now: their hidden states, from position `from`. */
  const newPlaces = (state: State, { sequence, hidden: parts }: Following): HiddenRows | undefined => {
    const end = sequence.committed.length - 1 // the root's hidden state is not known
    let rows: Float32Array = new Float32Array(0)
    for (const part of parts) {
      const next = state.first + state.cache.length + rows.length / hidden
      if (part.from > next) {
        begin(state, part.from)
        rows = part.rows.slice()
      } else rows = concat([rows, part.rows.subarray((next - part.from) * hidden)])
    }
    const from = state.first + state.cache.length
    const count = Math.min(rows.length / hidden, end - from)
    return count < 1 ? undefined : { from, rows: rows.subarray(0, count * hidden) }
  }

  const begin = (state: State, position: number): void => {
    state.cache.release()
    state.cache = new NodeCache(pool)
    state.first = position
    state.root = undefined
  }

  const inputsOf = (tokens: readonly number[], features: readonly Float32Array[]): Float32Array => {
    const inputs = new Float32Array(tokens.length * 2 * hidden)
    tokens.forEach((token, i) => {
      inputs.set(embeddings.of(token), 2 * i * hidden)
      inputs.set(features[i]!, (2 * i + 1) * hidden)
    })
    return inputs
  }

  const follow: DraftModel['follow'] = (following) => {
    const work = following.map((entry) => {
      const state = stateOf(entry.sequence.id)
      state.guesses.clear()
      return { state, sequence: entry.sequence, places: newPlaces(state, entry) }
    })
    const active = work.filter(({ places }) => places !== undefined)
    if (active.length > 0) runPlaces(active)
    const roots = work.map(({ state, sequence }) => {
      const isWhole = state.first + state.cache.length === sequence.committed.length - 1
      return isWhole ? state.root : undefined
    })
    const known = roots.filter((root) => root !== undefined)
    const logits = known.length === 0 ? [] : layer.logits(concat(known))
    let next = 0
    return roots.map((root) => (root === undefined ? undefined : logits[next++]))
  }

  const runPlaces = (
    work: readonly { state: State; sequence: DraftSequence; places: HiddenRows | undefined }[],
  ): void => {
    const tokens: number[] = []
    const features: Float32Array[] = []
    const positions: number[] = []
    const spans = work.map(({ state, sequence, places }) => {
      const { from, rows } = places ?? { from: 0, rows: new Float32Array(0) }
      const count = rows.length / hidden
      for (let i = 0; i < count; i++) {
        tokens.push(sequence.committed[from + i + 1]!)
        features.push(rows.subarray(i * hidden, (i + 1) * hidden))
        positions.push(from + i)
      }
      return state.cache.append(count)
    })
    const guesses = layer.run({ spans, inputs: inputsOf(tokens, features), positions })
    let end = 0
    work.forEach(({ state }, i) => {
      end += spans[i]!.slots.length
      state.root = guesses.slice((end - 1) * hidden, end * hidden)
    })
  }

  const expand: DraftModel['expand'] = (rows) => {
    const bySequence = groupRows(rows)
    const inOrder = [...bySequence.values()].flat()
    const features = inOrder.map(({ sequence, parent }) => {
      const state = stateOf(sequence.id)
      const feature = parent === 0 ? state.root : state.guesses.get(parent)
      if (feature === undefined) throw new ClusterError('internal', `eagle: node ${parent} was not expanded`)
      return feature
    })
    const spans = [...bySequence.values()].map((group) => stateOf(group[0]!.sequence.id).cache.place(group))
    const positions = inOrder.map(({ sequence, depth }) => sequence.committed.length - 2 + depth)
    const inputs = inputsOf(
      inOrder.map(({ token }) => token),
      features,
    )
    const guesses = layer.run({ spans, inputs, positions })
    inOrder.forEach(({ sequence, node }, i) =>
      stateOf(sequence.id).guesses.set(node, guesses.slice(i * hidden, (i + 1) * hidden)),
    )
    const logits = layer.logits(guesses)
    const places = new Map(inOrder.map((row, place) => [row, place]))
    return rows.map((row) => logits[places.get(row)!]!)
  }

  return {
    name: 'eagle',
    hidden,
    backlog: ({ hidden: parts }) => parts.reduce((sum, { rows }) => sum + rows.length / hidden, 0),
    follow,
    expand,
    forget: (id) => {
      states.get(id)?.cache.release()
      states.delete(id)
    },
    dispose: () => {
      for (const { cache } of states.values()) cache.release()
      states.clear()
      layer.dispose()
    },
  }
}
