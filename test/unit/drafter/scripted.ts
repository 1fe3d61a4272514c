// Sources, models and rankers that say what a test tells them to, and keep what they are asked.

import assert from 'node:assert/strict'
import type { DraftModel, Following, NodeRow } from '../../../services/drafter/draft-model.js'
import type { TextSource } from '../../../services/drafter/draft-source.js'
import { createRanker, type Ranker } from '../../../services/drafter/ranker.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'

/** A greedy sampler's ranker. */
export const GREEDY: Ranker = createRanker(NEUTRAL_SAMPLING, { choice: 0, promptLength: 0, isShared: true })

/** Proposes a chain of tokens, each of that probability. */
export function scriptedSource(
  name: string,
  chainAfter: (committed: Int32Array) => readonly number[],
  probability = 0.5,
): TextSource {
  return {
    name,
    observe: () => undefined,
    propose: ({ sequence: { committed }, tree, source }) => {
      let node: number | undefined = 0
      for (const token of chainAfter(committed)) {
        if (node !== undefined) node = tree.add(node, token, source, probability)
      }
    },
    forget: () => undefined,
  }
}

export interface ScriptedModel extends DraftModel {
  readonly follows: (readonly Following[])[]
  readonly waves: (readonly NodeRow[])[]
  readonly forgotten: string[]
}

/** What may follow a token, by probability. */
export type Script = (token: number) => ReadonlyMap<number, number>

const VOCAB = 64
const IMPOSSIBLE = -50

/** A model by a script; asserts M1 and M2. It reads hidden states where `hidden` is their width. */
export function createScriptedModel(script: Script, hidden = 0): ScriptedModel {
  const follows: (readonly Following[])[] = []
  const waves: (readonly NodeRow[])[] = []
  const forgotten: string[] = []
  const run = new Map<string, Set<number>>() // nodes by sequence

  const logitsAfter = (token: number): Float32Array => {
    const logits = new Float32Array(VOCAB).fill(IMPOSSIBLE)
    for (const [next, probability] of script(token)) logits[next] = Math.log(probability)
    return logits
  }

  return {
    name: 'scripted',
    hidden,
    follows,
    waves,
    forgotten,
    backlog: (following) => (hidden === 0 ? 1 : following.hidden.length),
    follow: (following) => {
      follows.push(following)
      for (const { sequence } of following) run.set(sequence.id, new Set([0]))
      return following.map(({ sequence }) => logitsAfter(sequence.committed[sequence.committed.length - 1]!))
    },
    expand: (rows) => {
      waves.push(rows)
      for (const { sequence, node, parent } of rows) {
        const known = run.get(sequence.id) ?? new Set()
        assert.ok(known.has(parent), `node ${node} of ${sequence.id} before its parent ${parent}`)
        assert.ok(!known.has(node), `node ${node} of ${sequence.id} twice`)
        known.add(node)
      }
      return rows.map(({ token }) => logitsAfter(token))
    },
    forget: (sequence) => {
      forgotten.push(sequence)
      run.delete(sequence)
    },
    dispose: () => undefined,
  }
}

/** Every token is followed by the next one, nearly for sure. */
export const COUNTING: Script = (token) =>
  new Map([
    [(token + 1) % VOCAB, 0.9],
    [(token + 2) % VOCAB, 0.1],
  ])
