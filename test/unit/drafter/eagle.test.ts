// Decides whether the EAGLE head computes what its formulae say, for chains and trees of several sequences at once.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import type { DraftModel, HiddenRows, NodeRow } from '../../../services/drafter/draft-model.js'
import { createEagle } from '../../../services/drafter/eagle.js'
import { createEagleLayer } from '../../../services/drafter/eagle-layer.js'
import { COMPUTE, demoTensors, drawRows, drawTokens, openDemo, openDemoHead } from './demo-heads.js'
import { sequenceOf } from './drafting.js'
import { eaglePlace, logitsOf, relativeError, type ReferencePlace } from './reference-heads.js'

const TOLERANCE = 1e-4

describe('createEagle', () => {
  const checkpoint = openDemo()
  const { hidden: width, vocabSize } = checkpoint.spec
  const get = demoTensors('eagle')
  const embeddings = checkpoint.tensor(checkpoint.spec.embedding)
  let eagle: DraftModel

  before(() => {
    const file = openDemoHead('eagle')
    eagle = createEagle(checkpoint, createEagleLayer(checkpoint, file, COMPUTE))
    file.close()
  })
  after(() => {
    eagle.dispose()
    checkpoint.close()
  })

  const embeddingOf = (token: number): Float32Array => embeddings.subarray(token * width, (token + 1) * width)

  /** A sequence of `length` drawn tokens and the target's hidden states of all but the last. */
  function draw(id: string, length: number) {
    const seed = length * 31 + id.length
    const rows = drawRows(seed, length - 1, width)
    const tokens = drawTokens(seed, length, vocabSize)
    return {
      id,
      tokens,
      sequence: sequenceOf(tokens, { id }),
      upTo: (count: number) => sequenceOf(tokens.subarray(0, count), { id }),
      hidden: (from: number, to: number): HiddenRows => ({ from, rows: rows.slice(from * width, to * width) }),
      /** The place at the root, from the hidden states from index `from` on. */
      root: (from = 0, count = length): ReferencePlace => {
        let place: ReferencePlace | undefined
        for (let t = from; t < count - 1; t++) {
          const feature = rows.subarray(t * width, (t + 1) * width)
          place = eaglePlace(get, place, { feature, embedding: embeddingOf(tokens[t + 1]!), position: t })
        }
        assert.ok(place !== undefined)
        return place
      },
    }
  }

  type Drawn = ReturnType<typeof draw>

  /** The place of a node below the root of a sequence of `length` tokens; depth from 1. */
  const below = (parent: ReferencePlace, token: number, { length, depth }: { length: number; depth: number }) =>
    eaglePlace(get, parent, { feature: parent.guess, embedding: embeddingOf(token), position: length - 2 + depth })

  const isExact = (logits: Float32Array | undefined, place: ReferencePlace): void => {
    assert.ok(logits !== undefined)
    const error = relativeError(logits, logitsOf(place.guess, embeddings))
    assert.ok(error < TOLERANCE, `off by ${error}`)
  }

  const followWhole = ({ sequence, tokens, hidden }: Drawn) =>
    eagle.follow([{ sequence, hidden: [hidden(0, tokens.length - 1)] }])[0]

  const forgetAll = (...drawn: Drawn[]): void => drawn.forEach(({ id }) => eagle.forget(id))

  const anyLength = fc.integer({ min: 2, max: 12 })

  it('E1 guesses what follows a root from all hidden states before it', () => {
    fc.assert(
      fc.property(anyLength, (length) => {
        const drawn = draw('s', length)
        isExact(followWhole(drawn), drawn.root())
        forgetAll(drawn)
      }),
      { numRuns: 10 },
    )
  })

  it('E1 guesses for several sequences in one call, each from its own', () => {
    const all = [draw('a', 7), draw('bb', 3), draw('ccc', 10)]
    const logits = eagle.follow(
      all.map(({ sequence, tokens, hidden }) => ({ sequence, hidden: [hidden(0, tokens.length - 1)] })),
    )
    const copies = logits.map((row) => row?.slice())
    all.forEach((drawn, i) => isExact(copies[i], drawn.root()))
    forgetAll(...all)
  })

  it('follows in pieces, some of them repeated', () => {
    const anyCuts = fc.array(fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 2 })), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(anyLength, anyCuts, (length, cuts) => {
        const drawn = draw('s', length)
        let held = 0
        for (const [count, repeated] of [...cuts, [length, 0] as const]) {
          const end = Math.min(length - 1, held + count)
          if (end === held) continue
          const part = drawn.hidden(Math.max(0, held - repeated), end)
          const [logits] = eagle.follow([{ sequence: drawn.upTo(end + 1), hidden: [part] }])
          isExact(logits, drawn.root(0, end + 1))
          held = end
        }
        forgetAll(drawn)
      }),
      { numRuns: 10 },
    )
  })

  it('takes in several pieces at once', () => {
    const drawn = draw('s', 9)
    const { sequence, hidden } = drawn
    const [logits] = eagle.follow([{ sequence, hidden: [hidden(0, 3), hidden(2, 5), hidden(1, 4), hidden(5, 8)] }])
    isExact(logits, drawn.root())
    forgetAll(drawn)
  })

  it('E3 begins anew after a gap, at the true positions', () => {
    const drawn = draw('s', 10)
    const { sequence, hidden, upTo } = drawn
    eagle.follow([{ sequence: upTo(4), hidden: [hidden(0, 3)] }])
    const [logits] = eagle.follow([{ sequence, hidden: [hidden(5, 9)] }])
    isExact(logits, drawn.root(5))
    forgetAll(drawn)
  })

  it('E3 begins at the first hidden state that comes', () => {
    const drawn = draw('s', 10)
    const [logits] = eagle.follow([{ sequence: drawn.sequence, hidden: [drawn.hidden(4, 9)] }])
    isExact(logits, drawn.root(4))
    forgetAll(drawn)
  })

  it('cannot follow without the hidden state before the root, until it comes', () => {
    const drawn = draw('s', 6)
    const { sequence, hidden } = drawn
    assert.deepEqual(eagle.follow([{ sequence, hidden: [hidden(0, 4)] }]), [undefined])
    assert.deepEqual(eagle.follow([{ sequence, hidden: [] }]), [undefined])
    isExact(eagle.follow([{ sequence, hidden: [hidden(4, 5)] }])[0], drawn.root())
    forgetAll(drawn)
  })

  it('answers for the sequences that it can follow beside one that it cannot', () => {
    const [known, unknown] = [draw('a', 5), draw('bb', 5)]
    const logits = eagle.follow([
      { sequence: unknown.sequence, hidden: [] },
      { sequence: known.sequence, hidden: [known.hidden(0, 4)] },
    ])
    assert.equal(logits[0], undefined)
    isExact(logits[1], known.root())
    forgetAll(known, unknown)
  })

  /** Rows of a drawn tree and the place of each: the parent of node i is drawn among the nodes before it. */
  function treeRows({ sequence, tokens, root }: Drawn, parents: readonly number[]) {
    const length = tokens.length
    const places = [root()]
    const depths = [0]
    const rows = parents.map((drawn, i): NodeRow => {
      const [node, parent] = [i + 1, drawn % (i + 1)]
      const depth = depths[parent]! + 1
      const token = (node * 97 + tokens[0]!) % vocabSize
      depths.push(depth)
      places.push(below(places[parent]!, token, { length, depth }))
      return { sequence, node, parent, token, depth }
    })
    return { rows, places: places.slice(1), depths }
  }

  it('runs trees of several sequences level by level, their rows mixed', () => {
    const anyParents = fc.array(fc.nat(), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(anyLength, anyLength, anyParents, anyParents, (first, second, parents, others) => {
        const all = [draw('a', first), draw('bb', second)]
        all.forEach(followWhole)
        const trees = [treeRows(all[0]!, parents), treeRows(all[1]!, others)]
        const nodes = trees.flatMap(({ rows, places }) => rows.map((row, i) => ({ row, place: places[i]! })))
        for (let depth = 1; nodes.some(({ row }) => row.depth >= depth); depth++) {
          const level = nodes.filter(({ row }) => row.depth === depth).sort((a, b) => a.row.node - b.row.node)
          const logits = eagle.expand(level.map(({ row }) => row)).map((row) => row.slice())
          level.forEach(({ place }, i) => isExact(logits[i], place))
        }
        forgetAll(...all)
      }),
      { numRuns: 10 },
    )
  })

  it('E2 follows from the hidden states of the target, whatever was expanded', () => {
    const drawn = draw('s', 8)
    const { sequence, hidden, upTo } = drawn
    eagle.follow([{ sequence: upTo(5), hidden: [hidden(0, 4)] }])
    eagle.expand([
      { sequence: upTo(5), node: 1, parent: 0, token: drawn.tokens[5]!, depth: 1 },
      { sequence: upTo(5), node: 2, parent: 0, token: 77, depth: 1 },
    ])
    const [logits] = eagle.follow([{ sequence, hidden: [hidden(4, 7)] }])
    isExact(logits, drawn.root())
    forgetAll(drawn)
  })

  it('M1 forgets the nodes of a tree when it follows', () => {
    const drawn = draw('s', 5)
    const { sequence } = drawn
    followWhole(drawn)
    eagle.expand([{ sequence, node: 1, parent: 0, token: 7, depth: 1 }])
    eagle.follow([{ sequence, hidden: [] }])
    assert.throws(
      () => eagle.expand([{ sequence, node: 2, parent: 1, token: 8, depth: 2 }]),
      (error) => error instanceof ClusterError && error.code === 'internal',
    )
    const [logits] = eagle.expand([{ sequence, node: 1, parent: 0, token: 8, depth: 1 }])
    isExact(logits, below(drawn.root(), 8, { length: 5, depth: 1 }))
    forgetAll(drawn)
  })

  it('knows nothing of a sequence that was forgotten, and gives its memory back', () => {
    const drawn = draw('s', 6)
    followWhole(drawn)
    forgetAll(drawn)
    const used = COMPUTE.kernels.usedBytes
    followWhole(drawn)
    forgetAll(drawn)
    assert.equal(COMPUTE.kernels.usedBytes, used)
    assert.deepEqual(eagle.follow([{ sequence: drawn.sequence, hidden: [drawn.hidden(0, 3)] }]), [undefined])
    forgetAll(drawn)
  })
})
