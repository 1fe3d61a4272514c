// What a drafter that lies may answer: everything that the wire can carry, and what it cannot.

import type { Body, MessageOf } from '../../lib/wire/messages.js'
import { packF32, packI32, type WireTensor } from '../../lib/wire/tensor.js'
import { frameOf, type Asked } from '../helpers/scripted-drafter.js'

type TreeEntry = Body<'draft.trees'>['entries'][number]

/** An answer as bytes; it is sent at once. */
export type Lie = (asked: Asked, random: () => number) => Uint8Array

const VOCAB = 4096
const HUGE = 100_000

interface Tree {
  readonly tokens: readonly number[]
  readonly parents: readonly number[]
  readonly values?: readonly number[]
}

const wholeBelow = (random: () => number, end: number): number => Math.floor(random() * end)

function entryOf(sequence: string, { tokens, parents, values = tokens.map(() => 1) }: Tree): TreeEntry {
  return {
    sequence,
    resend: false,
    tokens: packI32(tokens),
    parents: packI32(parents),
    values: packF32(Float32Array.from(values)),
    sources: packI32(tokens.map(() => 1)),
  }
}

/** A tree that breaks no rule and is right by chance alone. */
function randomTree(root: number, numNodes: number, random: () => number): Tree {
  const tokens = [root]
  const parents = [-1]
  for (let node = 1; node < numNodes; node++) {
    const token = (node * 7 + wholeBelow(random, VOCAB)) % VOCAB
    const parent = wholeBelow(random, node)
    if (tokens.some((other, i) => other === token && parents[i] === parent)) continue
    tokens.push(token)
    parents.push(parent)
  }
  return { tokens, parents, values: tokens.map(() => 0.5 + random() / 2) }
}

const treesOf = ({ question }: Asked, entries: TreeEntry[], fields: Partial<Body<'draft.trees'>> = {}) =>
  ({
    kind: 'draft.trees',
    step: question.step,
    sources: ['liar'],
    computeMs: 0,
    entries,
    ...fields,
  }) satisfies MessageOf<'draft.trees'>

const plausible = ({ question, roots }: Asked, random: () => number): TreeEntry[] =>
  question.entries.map(({ sequence }, i) => entryOf(sequence, randomTree(roots[i] ?? 0, 8, random)))

/** The same tree shape for every entry. */
const eachTree =
  (treeAt: (root: number, random: () => number) => Tree, fields: Partial<TreeEntry> = {}): Lie =>
  (asked, random) =>
    frameOf(
      treesOf(
        asked,
        asked.question.entries.map(({ sequence }, i) => ({
          ...entryOf(sequence, treeAt(asked.roots[i] ?? 0, random)),
          ...fields,
        })),
      ),
    )

const chainOf = (tokens: readonly number[], values?: readonly number[]): Tree => ({
  tokens,
  parents: tokens.map((_, node) => node - 1),
  ...(values && { values }),
})

const tensor = (dtype: WireTensor['dtype'], shape: number[], numBytes: number): WireTensor => ({
  dtype,
  shape,
  data: new Uint8Array(numBytes),
})

/** Well-formed frames: the drafter that sends one is asked again. */
export const TREE_LIES: Readonly<Record<string, Lie>> = {
  'random trees': eachTree((root, random) => randomTree(root, 40, random)),
  'as many nodes as are asked for, all certain': eachTree((root) => ({
    tokens: [root, ...Array.from({ length: 47 }, (_, i) => i)],
    parents: [-1, ...Array.from({ length: 47 }, () => 0)],
  })),
  'the same token over and over': eachTree((root) => chainOf(Array.from({ length: 48 }, () => root))),
  'a cycle in the parents': eachTree((root) => ({ tokens: [root, 1, 2], parents: [-1, 2, 1] })),
  'a node under itself': eachTree((root) => ({ tokens: [root, 1], parents: [-1, 1] })),
  'a parent that does not exist': eachTree((root) => ({ tokens: [root, 1, 2], parents: [-1, 0, 77] })),
  'a second root': eachTree((root) => ({ tokens: [root, 1], parents: [-1, -1] })),
  'duplicate siblings': eachTree((root) => ({ tokens: [root, 5, 5], parents: [-1, 0, 0] })),
  'tokens out of the vocabulary': eachTree((root) => chainOf([root, VOCAB, 2 ** 31 - 1])),
  'negative tokens': eachTree((root) => chainOf([root, -1, -(2 ** 31)])),
  'another root': eachTree((root) => chainOf([(root + 1) % VOCAB, 3])),
  'a chain of 100 000 nodes': eachTree((root) => chainOf([root, ...Array.from({ length: HUGE }, (_, i) => i % VOCAB)])),
  'a star of 100 000 nodes': eachTree((root) => ({
    tokens: [root, ...Array.from({ length: HUGE }, (_, i) => i % VOCAB)],
    parents: [-1, ...Array.from({ length: HUGE }, () => 0)],
  })),
  'another step': (asked, random) => frameOf(treesOf(asked, plausible(asked, random), { step: 'another step' })),
  'another epoch': (asked, random) => frameOf(treesOf(asked, plausible(asked, random)), 999_999),
  'no entries': (asked) => frameOf(treesOf(asked, [])),
  'one entry too few': (asked, random) => frameOf(treesOf(asked, plausible(asked, random).slice(1))),
  'every entry twice': (asked, random) =>
    frameOf(treesOf(asked, [...plausible(asked, random), ...plausible(asked, random)])),
  'the trees of other entries': (asked, random) => {
    const entries = plausible(asked, random)
    return frameOf(
      treesOf(
        asked,
        entries.map((entry, i) => ({ ...entry, sequence: entries.at(i - 1)?.sequence ?? '-' })),
      ),
    )
  },
  'someone else’s request': (asked, random) =>
    frameOf(
      treesOf(
        asked,
        plausible(asked, random).map((entry) => ({ ...entry, sequence: `not ${entry.sequence}` })),
      ),
    ),
  'values of NaN': eachTree((root) => chainOf([root, 1, 2], [NaN, NaN, NaN])),
  'infinite values': eachTree((root) => chainOf([root, 1, 2], [1, Infinity, -Infinity])),
  'negative values': eachTree((root) => chainOf([root, 1, 2], [-1, -2, -3])),
  'rising values': eachTree((root) => chainOf([root, 1, 2, 3], [0.1, 0.2, 0.7, 1e30])),
  'values that lack': eachTree((root) => chainOf([root, 1, 2], [])),
  'tokens as floats': eachTree((root) => chainOf([root, 1]), { tokens: tensor('f32', [2], 8) }),
  'parents in blocks': eachTree((root) => chainOf([root, 1]), { parents: tensor('q16', [1, 32], 72) }),
  'values as integers': eachTree((root) => chainOf([root, 1]), { values: tensor('i32', [2], 8) }),
  'fewer bytes than the shape says': eachTree((root) => chainOf([root, 1]), { tokens: tensor('i32', [9], 8) }),
  'a shape beyond every memory': eachTree((root) => chainOf([root, 1]), {
    tokens: tensor('i32', [2 ** 40, 2 ** 40], 8),
  }),
  'no shape': eachTree((root) => chainOf([root, 1]), { tokens: tensor('i32', [], 4) }),
  'fewer parents than tokens': eachTree((root) => chainOf([root, 1]), { parents: packI32([-1]) }),
  'no tree': eachTree(() => ({ tokens: [], parents: [] })),
  'that it knows nothing, always': eachTree((root, random) => randomTree(root, 8, random), { resend: true }),
  'sources that have no name': eachTree((root) => chainOf([root, 1]), { sources: packI32([-1, -1]) }),
}

/** What is no answer to the question: the drafter that sends it is not asked for a while. */
export const BROKEN_LIES: Readonly<Record<string, Lie>> = {
  'no bytes': () => new Uint8Array(0),
  'random bytes': (_, random) => Uint8Array.from({ length: 300 }, () => wholeBelow(random, 256)),
  'half a frame': (asked, random) => {
    const bytes = frameOf(treesOf(asked, plausible(asked, random)))
    return bytes.subarray(0, bytes.length / 2)
  },
  'a frame against the schema': (asked) => frameOf(treesOf(asked, [], { computeMs: NaN })),
  'more sources than there are bits': (asked) =>
    frameOf(treesOf(asked, [], { sources: Array.from({ length: 31 }, (_, i) => `source ${i}`) })),
  'another kind': () => frameOf({ kind: 'cluster.state', json: '{}' }),
  'an error of no known code': () => frameOf({ kind: 'request.failed', code: 'liar', message: '', details: {} }),
}
