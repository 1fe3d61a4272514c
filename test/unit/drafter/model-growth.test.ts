// Decides which nodes a draft model is run on, and when it is run no more.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { systemClock } from '../../../lib/actor/clock.js'
import { CandidateTree } from '../../../services/drafter/candidate-tree.js'
import type { DraftSequence } from '../../../services/drafter/draft-source.js'
import { createModelGrowth, type Bar } from '../../../services/drafter/model-growth.js'
import type { Ranker } from '../../../services/drafter/ranker.js'
import type { SequenceDraft } from '../../../services/drafter/sequence-draft.js'
import { AS_IS, sequenceOf } from './drafting.js'
import { COUNTING, createScriptedModel, GREEDY, type Script, type ScriptedModel } from './scripted.js'

const MODEL = 1 // its source
const TEXT = 0
const ANY: Bar = { tokensPerMs: 0, price: 0, maxWaves: 8 }
const IMPOSSIBLY_FAST = 1e12 // tokens per ms: no draft is worth its time

function newDraft(traits: Partial<DraftSequence> = {}, root = 1): SequenceDraft {
  return {
    sequence: sequenceOf([9, root], { ranker: GREEDY, ...traits }),
    tree: new CandidateTree(root, AS_IS, 256),
    views: [{ hidden: [], expanded: new Set(), isBehind: true }],
    lastHidden: undefined,
  }
}

const newGrowth = (model: ScriptedModel) => createModelGrowth({ model, clock: systemClock, index: 0, source: MODEL })

const expandedTokens = ({ waves }: ScriptedModel): number[][] => waves.map((rows) => rows.map(({ token }) => token))

describe('createModelGrowth', () => {
  it('grows a tree from the root by what the model says', () => {
    const draft = newDraft()
    newGrowth(createScriptedModel(COUNTING)).grow([draft], { ...ANY, maxWaves: 1 })
    const { tree } = draft
    const [best, other] = [tree.child(0, 2), tree.child(0, 3)]
    assert.ok(best !== undefined && other !== undefined && tree.child(best, 3) !== undefined)
    assert.ok(Math.abs(tree.rawOf(best, MODEL)! - 0.9) < 0.02)
    assert.equal(tree.rawOf(best, TEXT), undefined)
  })

  it('W1 expands a node after its parent, whichever source proposed it', () => {
    const model = createScriptedModel(COUNTING)
    const draft = newDraft()
    const [first, second] = [40, 50]
    draft.tree.add(draft.tree.add(0, first, TEXT, 0.6)!, second, TEXT, 0.6)
    newGrowth(model).grow([draft], ANY) // the scripted model asserts the order
    const order = expandedTokens(model).flat()
    assert.ok(order.includes(first) && order.indexOf(first) < order.indexOf(second))
    assert.ok(draft.tree.child(draft.tree.child(0, first)!, first + 1) !== undefined)
  })

  it('runs a node once, also over several calls', () => {
    const model = createScriptedModel(COUNTING)
    const draft = newDraft()
    const growth = newGrowth(model)
    for (let i = 0; i < 4; i++) growth.grow([draft], { ...ANY, maxWaves: 1 }) // the scripted model asserts it
    assert.ok(model.waves.length > 1)
    assert.equal(model.follows.length, 1)
  })

  it('W2 runs as many waves as it may, and says that there is more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4 }), (maxWaves) => {
        const model = createScriptedModel(COUNTING)
        assert.equal(newGrowth(model).grow([newDraft()], { ...ANY, maxWaves }), true)
        assert.equal(model.waves.length, maxWaves)
      }),
    )
  })

  it('W2 comes to an end, however certain the model is', () => {
    const model = createScriptedModel((token) => new Map([[token + 1, 1]]))
    assert.equal(newGrowth(model).grow([newDraft()], { ...ANY, maxWaves: 10_000 }), false)
  })

  it('runs nothing whose value is below the price', () => {
    const anyScript: fc.Arbitrary<Script> = fc
      .array(fc.double({ min: 0.05, max: 0.95, noNaN: true }), { minLength: 8, maxLength: 8 })
      .map((shares) => (token) => {
        const share = shares[token % shares.length]!
        return new Map([
          [(token * 3 + 1) % 60, share],
          [(token * 5 + 2) % 60, 1 - share],
        ])
      })
    fc.assert(
      fc.property(anyScript, fc.double({ min: 0.05, max: 0.9, noNaN: true }), (script, price) => {
        const model = createScriptedModel(script)
        const draft = newDraft()
        newGrowth(model).grow([draft], { ...ANY, price })
        const values = draft.tree.values()
        for (const { node } of model.waves.flat()) assert.ok(values[node]! >= price, `${values[node]} for ${price}`)
      }),
    )
  })

  it('runs no wave where the cluster yields more in its time', () => {
    const model = createScriptedModel(COUNTING)
    const growth = newGrowth(model)
    growth.warmUp()
    const [numFollows, numWaves] = [model.follows.length, model.waves.length]
    assert.equal(growth.grow([newDraft()], { ...ANY, tokensPerMs: IMPOSSIBLY_FAST }), false)
    assert.deepEqual([model.follows.length, model.waves.length], [numFollows, numWaves])
  })

  it('counts of what a wave promises what its nodes cost to verify', () => {
    const numWaves = (price: number): number => {
      const model = createScriptedModel(COUNTING)
      const clock = { monotonicMs: () => 0.1 * (model.waves.length + model.follows.length) } // 0.1 ms a run
      const growth = createModelGrowth({ model, clock, index: 0, source: MODEL })
      growth.warmUp()
      const before = model.waves.length
      growth.grow([newDraft()], { tokensPerMs: 2, price, maxWaves: 8 })
      return model.waves.length - before
    }
    // A run costs 0.2 tokens; the first wave promises 0.6, of which its node costs the price.
    assert.ok(numWaves(0.05) > 0)
    assert.equal(numWaves(0.5), 0)
  })

  it('runs the model again when waves pay again', () => {
    const model = createScriptedModel(COUNTING)
    const growth = newGrowth(model)
    growth.warmUp()
    const numWaves = model.waves.length
    const draft = newDraft()
    growth.grow([draft], { ...ANY, tokensPerMs: IMPOSSIBLY_FAST })
    growth.grow([draft], ANY)
    assert.ok(model.waves.length > numWaves && draft.tree.size > 1)
  })

  it('leaves nothing behind of its warm-up', () => {
    const model = createScriptedModel(COUNTING)
    newGrowth(model).warmUp()
    const ids = new Set(model.follows.flat().map(({ sequence }) => sequence.id))
    assert.deepEqual(new Set(model.forgotten), ids)
  })

  it('runs the nodes of several sequences in one wave', () => {
    const model = createScriptedModel(COUNTING)
    newGrowth(model).grow([newDraft({ id: 'a' }, 1), newDraft({ id: 'b' }, 20)], { ...ANY, maxWaves: 1 })
    assert.equal(model.follows.length, 1)
    assert.deepEqual(new Set(model.waves[0]?.map(({ sequence }) => sequence.id)), new Set(['a', 'b']))
  })

  it('gives the children of a node to its own sequence', () => {
    const drafts = [newDraft({ id: 'a' }, 1), newDraft({ id: 'b' }, 20)]
    newGrowth(createScriptedModel(COUNTING)).grow(drafts, ANY)
    for (const { tree } of drafts) {
      for (let node = 1; node < tree.size; node++) {
        const step = tree.tokens[node]! - tree.tokens[tree.parents[node]!]!
        assert.ok(tree.estimates[node]! < 0.05 || step === 1 || step === 2)
      }
    }
  })

  it('ranks what follows a node by the absolute position of the token', () => {
    const asked: number[][] = [] // token before, position
    const ranker: Ranker = {
      ...GREEDY,
      rankLogits: (logits, committed, position, k) => {
        const ranked = GREEDY.rankLogits(logits, committed, position, k)
        asked.push([ranked[0]!.token, position])
        return ranked
      },
    }
    newGrowth(createScriptedModel((token) => new Map([[token + 1, 1]]))).grow([newDraft({ ranker })], ANY)
    assert.ok(asked.length > 2)
    for (const [token, position] of asked) assert.equal(position, token) // token 1 is at index 1
  })

  it('waits for hidden states where the model reads them', () => {
    const model = createScriptedModel(COUNTING, 2)
    const growth = newGrowth(model)
    const draft = newDraft()
    growth.grow([draft], ANY)
    assert.equal(model.follows.length, 0)
    draft.views[0]!.hidden.push({ from: 0, rows: new Float32Array(2) })
    growth.grow([draft], ANY)
    assert.deepEqual(model.follows[0]?.[0]?.hidden, [{ from: 0, rows: new Float32Array(2) }])
    assert.ok(draft.tree.size > 1)
  })

  it('drafts nothing where the model cannot follow', () => {
    const model = createScriptedModel(COUNTING)
    const draft = newDraft()
    newGrowth({ ...model, follow: (following) => following.map(() => undefined) }).grow([draft], ANY)
    assert.deepEqual([draft.tree.size, model.waves.length], [1, 0])
  })

  it('stops running a model whose guesses never come true', () => {
    const model = createScriptedModel(COUNTING)
    const growth = newGrowth(model)
    for (let i = 0; i < 300; i++) {
      const draft = newDraft()
      growth.grow([draft], { ...ANY, maxWaves: 1 })
      const child = draft.tree.child(0, 2)!
      draft.tree.add(child, 40, TEXT, 0.01) // another source is right
      growth.observe(draft, [2, 40])
    }
    const numWaves = model.waves.length
    growth.grow([newDraft()], { ...ANY, price: 0.3 })
    assert.equal(model.waves.length, numWaves)
  })
})
