// B1 to B3 of the choice of nodes, on trees, values and step costs as they come.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { checkTree, type TokenTree } from '../../../lib/speculative/token-tree.js'
import { chooseTrees, priceOf, type Proposal } from '../../../services/router/choose-trees.js'
import { addShapes, chunkShape, EMPTY_STEP, withNodes, type StepShape } from '../../../services/router/step-shape.js'
import { anyTree } from '../speculative/draw-tree.js'
import { proposalOf } from './drafts.js'
import { createTestSequence } from './sequences.js'

const VOCAB = 12
const decodeShape = (sequences: number): StepShape => ({
  ...EMPTY_STEP,
  sequences,
  decoding: sequences,
  rows: sequences,
  sampled: sequences,
  contextSlots: 100 * sequences,
})

/** A known cost: `fixedMs`, and for every row what `rowMs` says. */
const costOf = (fixedMs: number, rowMs: (row: number) => number, isKnown = true) => ({
  isKnown,
  predict: ({ rows }: StepShape) => {
    let ms = fixedMs
    for (let row = 0; row < rows; row++) ms += rowMs(row)
    return ms
  },
})

/** Values that never rise along a path, from a share of the parent's for each node. */
function valuesOf({ parents }: TokenTree, shares: readonly number[]): number[] {
  const values = [1]
  for (let node = 1; node < parents.length; node++) values.push(values[parents[node]!]! * shares[node % shares.length]!)
  return values
}

const shares = fc.array(fc.constantFrom(0.2, 0.5, 0.9, 0.95, 1), { minLength: 1, maxLength: 7 }) // equal ones often
const anyProposals = (maxNodes: number): fc.Arbitrary<Proposal[]> =>
  fc
    .array(fc.tuple(anyTree({ maxNodes, vocabSize: VOCAB }), shares), { minLength: 1, maxLength: 4 })
    .map((trees) =>
      trees.map(([tree, drawn], i) => proposalOf(createTestSequence(`s${i}`, [0]), tree, valuesOf(tree, drawn))),
    )
const rowMs = fc.oneof(fc.constantFrom(0, 0.01, 0.1), fc.double({ min: 0, max: 2, noNaN: true }))
const anyCost = fc
  .tuple(fc.double({ min: 0.1, max: 9, noNaN: true }), fc.array(rowMs, { minLength: 1, maxLength: 5 }))
  .map(([fixedMs, rows]) => costOf(fixedMs, (row) => rows[row % rows.length]!))

const numChosen = ({ nodes }: ReturnType<typeof chooseTrees>): number =>
  [...nodes.values()].reduce((sum, { length }) => sum + length - 1, 0)

const chainProposal = (id: string, values: readonly number[]): Proposal => {
  const tree = { tokens: values.map((_, i) => i), parents: values.map((_, i) => i - 1) }
  return proposalOf(createTestSequence(id, [0]), tree, values)
}

describe('chooseTrees', () => {
  it('chooses trees, within the room of the step (B1, B2)', () => {
    fc.assert(
      fc.property(anyProposals(20), anyCost, fc.integer({ min: -2, max: 40 }), (proposals, cost, room) => {
        const choice = chooseTrees(proposals, decodeShape(proposals.length), cost, { room })
        assert.ok(numChosen(choice) <= Math.max(0, room))
        assert.deepEqual([...choice.nodes.keys()], proposals)
        for (const [{ tree }, chosen] of choice.nodes) {
          const parents = chosen.map((node) => chosen.indexOf(tree.parents[node]!))
          const tokens = chosen.map((node) => tree.tokens[node]!)
          checkTree({ tokens, parents }, { maxNodes: 20, vocabSize: VOCAB, root: tree.tokens[0]! })
        }
      }),
      { numRuns: 300 },
    )
  })

  it('is the best number of the most valuable nodes, whatever steps cost', () => {
    fc.assert(
      fc.property(anyProposals(5), anyCost, fc.nat(16), (proposals, cost, room) => {
        const plain = decodeShape(proposals.length)
        const choice = chooseTrees(proposals, plain, cost, { room })
        const offered = proposals.flatMap(({ values }) => [...values.subarray(1)]).sort((a, b) => b - a)
        const rateOf = (values: readonly number[]): number =>
          (plain.decoding + values.reduce((sum, value) => sum + value, 0)) /
          cost.predict(withNodes(plain, values.length))
        const chosen = [...choice.nodes].flatMap(([{ values }, nodes]) => nodes.slice(1).map((node) => values[node]!))
        const counts = Array.from({ length: Math.min(room, offered.length) + 1 }, (_, count) => count)
        const best = Math.max(...counts.map((count) => rateOf(offered.slice(0, count))))
        assert.ok(Math.abs(rateOf(chosen) / best - 1) < 1e-9, `${rateOf(chosen)} of ${best} tokens per ms`)
      }),
      { numRuns: 500 },
    )
  })

  it('is never worse than no drafts, by its own prediction', () => {
    fc.assert(
      fc.property(anyProposals(60), anyCost, (proposals, cost) => {
        const plain = decodeShape(proposals.length)
        const { nodes, plainMs, predictedMs } = chooseTrees(proposals, plain, cost, { room: 200 })
        let tokens = plain.decoding
        for (const [{ values }, chosen] of nodes) for (const node of chosen.slice(1)) tokens += values[node]!
        assert.ok(tokens / predictedMs >= (plain.decoding / plainMs) * (1 - 1e-9))
      }),
    )
  })

  it('gives the same trees for the same proposals, and changes none of them (B3)', () => {
    fc.assert(
      fc.property(anyProposals(20), anyCost, fc.nat(40), (proposals, cost, room) => {
        const before = structuredClone(proposals.map(({ tree, values }) => ({ tree, values })))
        const choose = () => chooseTrees(proposals, decodeShape(proposals.length), cost, { room })
        assert.deepEqual([...choose().nodes.values()], [...choose().nodes.values()])
        assert.deepEqual(
          proposals.map(({ tree, values }) => ({ tree, values })),
          before,
        )
      }),
    )
  })

  const cheap = costOf(10, () => 0.01)

  it('lets the sequences compete for the room of the step', () => {
    const [likely, unlikely] = [chainProposal('a', [1, 0.9, 0.8, 0.7]), chainProposal('b', [1, 0.6, 0.5, 0.4])]
    const { nodes } = chooseTrees([unlikely, likely], decodeShape(2), cheap, { room: 4 })
    assert.deepEqual(
      [nodes.get(likely), nodes.get(unlikely)],
      [
        [0, 1, 2, 3],
        [0, 1],
      ],
    )
  })

  it('chooses nothing where a row costs as much as a step', () => {
    const choice = chooseTrees(
      [chainProposal('a', [1, 0.9, 0.8])],
      decodeShape(1),
      costOf(0.01, () => 5),
      { room: 100 },
    )
    assert.deepEqual([numChosen(choice), choice.predictedMs], [0, choice.plainMs])
  })

  it('chooses more beside a prefill, which takes most of the step’s time anyway', () => {
    const proposals = [chainProposal('a', [1, 0.6, 0.3, 0.15, 0.08, 0.04, 0.02])]
    const steps = [decodeShape(1), addShapes(decodeShape(1), chunkShape(0, 200))]
    const [alone = 0, beside = 0] = steps.map((plain) =>
      numChosen(
        chooseTrees(
          proposals,
          plain,
          costOf(1, () => 0.2),
          { room: 100 },
        ),
      ),
    )
    assert.ok(alone < beside, `${alone} nodes alone, ${beside} beside a prefill`)
  })

  it('before step times are known, a likely node will do and an unlikely one will not', () => {
    const unknown = costOf(0, () => 0, false)
    const choice = chooseTrees([chainProposal('a', [1, 0.9, 0.01])], decodeShape(1), unknown, { room: 100 })
    assert.deepEqual([numChosen(choice), choice.plainMs, choice.predictedMs], [1, 0, 0])
  })

  it('takes what is worth a fixed price, whatever it costs', () => {
    const dear = costOf(0.01, () => 5)
    const choice = chooseTrees([chainProposal('a', [1, 0.9, 0.5, 0.3])], decodeShape(1), dear, {
      room: 100,
      price: 0.5,
    })
    assert.deepEqual([numChosen(choice), choice.price], [2, 0.5])
  })

  it('takes the more valuable part of what pays where it is to take a share', () => {
    fc.assert(
      fc.property(anyProposals(5), anyCost, (proposals, cost) => {
        const plain = decodeShape(proposals.length)
        const whole = chooseTrees(proposals, plain, cost, { room: 16 })
        const half = chooseTrees(proposals, plain, cost, { room: 16, share: 0.5 })
        assert.equal(numChosen(half), Math.ceil(numChosen(whole) / 2))
        for (const [proposal, nodes] of half.nodes) {
          const kept = new Set(whole.nodes.get(proposal))
          assert.ok(nodes.every((node) => kept.has(node)))
        }
        assert.ok(half.predictedMs <= whole.predictedMs)
      }),
    )
  })

  it('a node that was left out is worth less than the price, where each costs the same', () => {
    fc.assert(
      fc.property(anyProposals(5), fc.double({ min: 0.01, max: 1, noNaN: true }), (proposals, rowMs) => {
        const { nodes, price } = chooseTrees(
          proposals,
          decodeShape(proposals.length),
          costOf(5, () => rowMs),
          { room: 100 },
        )
        for (const [{ values }, chosen] of nodes) {
          const isChosen = new Set(chosen)
          for (const [node, value] of values.entries()) if (!isChosen.has(node)) assert.ok(value <= price * (1 + 1e-9))
        }
      }),
    )
  })
})

describe('priceOf', () => {
  it('is higher in a full batch, where a step is bound by arithmetic', () => {
    const cost = costOf(5, (row) => (row < 32 ? 0.1 : 1))
    assert.ok(priceOf(decodeShape(64), cost, 0.2) > 2 * priceOf(decodeShape(1), cost, 0.2))
  })

  it('is higher where sequences yield more without further nodes', () => {
    const cost = costOf(5, () => 0.2)
    assert.ok(priceOf(decodeShape(1), cost, 0.6) > 2 * priceOf(decodeShape(1), cost, 0.2))
  })

  it('lies between 0 and 1, before anything is known too', () => {
    fc.assert(
      fc.property(anyCost, fc.nat(100), fc.boolean(), fc.nat(100), (cost, sequences, isKnown, tokensPerMs) => {
        const price = priceOf(decodeShape(sequences), { ...cost, isKnown }, tokensPerMs)
        assert.ok(price >= 0 && price <= 1, String(price))
      }),
    )
  })
})
