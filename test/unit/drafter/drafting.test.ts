// Decides what is proposed for a sequence: what its sources say, what was drafted ahead, and what came of hidden states.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { systemClock } from '../../../lib/actor/clock.js'
import { checkTree } from '../../../lib/speculative/token-tree.js'
import { createCalibration } from '../../../services/drafter/calibration.js'
import type { DraftSequence, TextSource } from '../../../services/drafter/draft-source.js'
import { createDrafting, type Draft, type DraftBar, type Drafting } from '../../../services/drafter/drafting.js'
import type { HeadDraft, Medusa } from '../../../services/drafter/medusa.js'
import { createModelGrowth } from '../../../services/drafter/model-growth.js'
import { COUNTING, createScriptedModel, GREEDY, scriptedSource, type ScriptedModel } from './scripted.js'

const HIDDEN = 2
const ANY: DraftBar = { maxNodes: 16, tokensPerMs: 0, price: 0 }

interface Cast {
  readonly texts?: readonly TextSource[]
  readonly medusa?: Medusa
  readonly model?: ScriptedModel
  readonly ahead?: boolean
}

function newDrafting({ texts = [], medusa, model, ahead = true }: Cast) {
  const names = [...texts, ...(medusa ? [medusa] : []), ...(model ? [model] : [])].map(({ name }) => name)
  const models =
    model === undefined ? [] : [createModelGrowth({ model, clock: systemClock, index: 0, source: names.length - 1 })]
  const sources = { texts, medusa, models, names: [...names, 'ahead'], hidden: HIDDEN }
  return createDrafting({ sources, calibration: createCalibration(sources.names), ahead })
}

/** A sequence that grows: proposes for it after more tokens, perhaps with hidden states. */
function newSequence(drafting: Drafting, id = 's') {
  const tokens: number[] = []
  const sequence: DraftSequence = {
    id,
    scope: '',
    promptLength: 1,
    ranker: GREEDY,
    get committed() {
      return Int32Array.from(tokens)
    },
  }
  return {
    sequence,
    propose: (added: readonly number[], bar: Partial<DraftBar> = {}, hidden?: { from: number; rows: Float32Array }) => {
      tokens.push(...added)
      const [draft] = drafting.propose([{ sequence, numNew: added.length, hidden }], { ...ANY, ...bar })
      assert.ok(draft !== undefined)
      return draft
    },
  }
}

/** Tokens below the root of nodes that this source had a part in. */
const tokensBy = ({ tokens, sources }: Draft, source: number): number[] =>
  [...tokens].filter((_, node) => node > 0 && (sources[node]! >> source) & 1)

/** Says its chain once. */
function onceOnly(chain: readonly number[]): TextSource {
  let isSaid = false
  return scriptedSource('once', () => {
    const said = isSaid ? [] : chain
    isSaid = true
    return said
  })
}

describe('createDrafting', () => {
  it('G1 proposes a tree of the last committed token, of so many nodes, with values that fall', () => {
    const anyChain = fc.array(fc.nat({ max: 20 }), { maxLength: 10 })
    const anyTexts = fc.array(fc.tuple(anyChain, fc.double({ min: 0, max: 1, noNaN: true })), { maxLength: 4 })
    const anyPieces = fc.array(fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 4 }), { minLength: 1 })
    fc.assert(
      fc.property(
        anyTexts,
        anyPieces,
        fc.integer({ min: 1, max: 20 }),
        fc.boolean(),
        (said, pieces, maxNodes, ahead) => {
          const texts = said.map(([chain, probability], i) => scriptedSource(`t${i}`, () => chain, probability))
          const { propose } = newSequence(newDrafting({ texts, ahead }))
          for (const piece of pieces) {
            const { tokens, parents, values } = propose(piece, { maxNodes })
            checkTree({ tokens, parents }, { maxNodes, vocabSize: 21, root: piece[piece.length - 1]! })
            values.subarray(1).forEach((value, i) => assert.ok(value <= values[parents[i + 1]!]!))
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  it('joins what text and model propose in one tree', () => {
    const model = createScriptedModel(COUNTING)
    const { propose } = newSequence(newDrafting({ texts: [scriptedSource('text', () => [2, 30])], model }))
    const draft = propose([1])
    assert.ok(tokensBy(draft, 0).includes(30))
    assert.ok(tokensBy(draft, 1).includes(2) && tokensBy(draft, 0).includes(2))
  })

  it('gives models the price and the yield to beat', () => {
    const model = createScriptedModel(COUNTING)
    newSequence(newDrafting({ model })).propose([1], { price: 1 })
    assert.equal(model.waves.length, 0)
  })

  it('forgets a sequence everywhere, also while drafting ahead', () => {
    const forgotten: string[] = []
    const text = { ...onceOnly([]), forget: ({ id }: DraftSequence) => forgotten.push(id) }
    const model = createScriptedModel(COUNTING)
    const drafting = newDrafting({ texts: [text], model })
    const { sequence, propose } = newSequence(drafting)
    propose([1], { price: 0.8 })
    drafting.forget(sequence)
    assert.deepEqual([forgotten, model.forgotten], [['s'], ['s']])
    assert.equal(drafting.ahead(), false)
  })
})

describe('createDrafting, ahead', () => {
  const AHEAD = 1 // after the one text

  it('G2 begins with what was drafted below the path that came true', () => {
    const { propose } = newSequence(newDrafting({ texts: [onceOnly([2, 3, 4, 5])] }))
    propose([1])
    const draft = propose([2, 3])
    assert.deepEqual([...draft.tokens], [3, 4, 5])
    assert.deepEqual(tokensBy(draft, AHEAD), [4, 5])
  })

  it('G2 drops what was drafted where another path came true', () => {
    const { propose } = newSequence(newDrafting({ texts: [onceOnly([2, 3, 4, 5])] }))
    propose([1])
    assert.deepEqual([...propose([2, 9]).tokens], [9])
  })

  it('begins anew where drafting ahead is off', () => {
    const { propose } = newSequence(newDrafting({ texts: [onceOnly([2, 3, 4, 5])], ahead: false }))
    propose([1])
    assert.deepEqual([...propose([2]).tokens], [2])
  })

  it('keeps the tree of a proposal that is repeated', () => {
    const { propose } = newSequence(newDrafting({ texts: [onceOnly([2, 3])] }))
    propose([1])
    assert.deepEqual([...propose([]).tokens], [1, 2, 3])
  })

  it('runs the model on where the proposal stopped, wave by wave, and comes to an end', () => {
    const model = createScriptedModel(COUNTING)
    const drafting = newDrafting({ model })
    newSequence(drafting).propose([1], { price: 0.8 })
    const sizes = [model.waves.length]
    for (let turn = 0; turn < 1000 && drafting.ahead(); turn++) sizes.push(model.waves.length)
    assert.ok(sizes.length > 1 && sizes.length < 1000)
    sizes.slice(1).forEach((size, i) => assert.equal(size, sizes[i]! + 1))
  })

  it('proposes what the model drafted ahead without running it again', () => {
    const model = createScriptedModel(COUNTING)
    const drafting = newDrafting({ model })
    const { propose } = newSequence(drafting)
    propose([1])
    while (drafting.ahead());
    const [numFollows, numWaves] = [model.follows.length, model.waves.length]
    const draft = propose([2], { tokensPerMs: 1e12 })
    assert.deepEqual([model.follows.length, model.waves.length], [numFollows, numWaves])
    assert.ok(tokensBy(draft, AHEAD).includes(3))
  })

  it('lets the model draft on from inherited nodes', () => {
    const model = createScriptedModel(COUNTING)
    const drafting = newDrafting({ texts: [onceOnly([2, 40, 50])], model })
    const { propose } = newSequence(drafting)
    propose([1], { price: 1 })
    assert.ok(tokensBy(propose([2]), 1).some((token) => token === 41 || token === 51))
  })

  it('runs no model where drafting ahead is off', () => {
    const model = createScriptedModel(COUNTING)
    const drafting = newDrafting({ model, ahead: false })
    newSequence(drafting).propose([1], { price: 1 })
    assert.equal(drafting.ahead(), false)
    assert.equal(model.waves.length, 0)
  })
})

describe('createDrafting, hidden states', () => {
  const rowsOf = (from: number, count: number) => ({
    from,
    rows: Float32Array.from({ length: count * HIDDEN }, (_, i) => from * HIDDEN + i),
  })

  /** Medusa heads that keep what they are given. */
  function listeningHeads() {
    const given: (readonly HeadDraft[])[] = []
    const medusa: Medusa = {
      name: 'medusa',
      numHeads: 1,
      propose: (drafts) => given.push(drafts),
      dispose: () => undefined,
    }
    return { medusa, rows: () => given.flat().map(({ hidden }) => [...hidden]) }
  }

  it('gives heads the state of the token before the root', () => {
    const { medusa, rows } = listeningHeads()
    newSequence(newDrafting({ medusa })).propose([1, 2, 3, 4], {}, rowsOf(0, 3))
    assert.deepEqual(rows(), [[4, 5]])
  })

  it('gives heads nothing where that state is not among them', () => {
    const { medusa, rows } = listeningHeads()
    newSequence(newDrafting({ medusa })).propose([1, 2, 3, 4], {}, rowsOf(0, 2))
    assert.deepEqual(rows(), [])
  })

  it('gives heads nothing where none came for new tokens', () => {
    const { medusa, rows } = listeningHeads()
    const { propose } = newSequence(newDrafting({ medusa }))
    propose([1, 2], {}, rowsOf(0, 1))
    propose([3])
    assert.deepEqual(rows(), [[0, 1]])
  })

  it('gives a model all that came since it followed', () => {
    const model = createScriptedModel(COUNTING, HIDDEN)
    const { propose } = newSequence(newDrafting({ model, ahead: false }))
    propose([1, 2, 3], {}, rowsOf(0, 2))
    propose([4], {}, rowsOf(2, 1))
    assert.deepEqual(
      model.follows.flat().map(({ hidden }) => hidden),
      [[rowsOf(0, 2)], [rowsOf(2, 1)]],
    )
  })

  it('keeps for a model what it had no time for', () => {
    const model = createScriptedModel(COUNTING, HIDDEN)
    const drafting = newDrafting({ model, ahead: false })
    const { propose } = newSequence(drafting)
    propose([1, 2], {}, rowsOf(0, 1)) // now it is known what it takes
    propose([3], { tokensPerMs: 1e12 }, rowsOf(1, 1))
    propose([4], {}, rowsOf(2, 1))
    assert.deepEqual(model.follows[1]?.[0]?.hidden, [rowsOf(1, 1), rowsOf(2, 1)])
  })

  it('keeps for a model the last of very many', () => {
    const model = createScriptedModel(COUNTING, HIDDEN)
    const { propose } = newSequence(newDrafting({ model, ahead: false }))
    propose([1, 2], {}, rowsOf(0, 1))
    for (let from = 1; from < 400; from++) propose([3], { tokensPerMs: 1e12 }, rowsOf(from * 100, 100))
    propose([3], {}, rowsOf(40_000, 1))
    const kept = model.follows.at(-1)?.[0]?.hidden ?? []
    assert.deepEqual(kept.at(-1), rowsOf(40_000, 1))
    assert.ok(kept.length < 200)
  })
})
