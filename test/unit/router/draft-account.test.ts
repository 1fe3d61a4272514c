// What drafts are said to bring and cost, on steps whose times are known.

import assert from 'node:assert/strict'
import { createCostModel } from '../../../services/router/cost-model.js'
import { createDraftAccount, type DraftAccount } from '../../../services/router/draft-account.js'
import { decodeRows, rootOnly, type Sequence } from '../../../services/router/sequence.js'
import type { DraftedStep } from '../../../services/router/speculation.js'
import { shapeOf } from '../../../services/router/step-shape.js'
import { proposalOf } from './drafts.js'
import { createTestSequence } from './sequences.js'

const PLAIN_MS = 5
const NODE_MS = 0.25
const NUM_NODES = 8
const WAIT_MS = 3
const BETWEEN_MS = 1
const NO_EXPERTS = { layers: 0, experts: 0, topK: 0 }

/** A cost model that has seen plain steps and trees often enough to know both. */
function knownCost(sequence: Sequence) {
  const cost = createCostModel(NO_EXPERTS)
  for (let i = 0; i < 400; i++)
    for (const { shape, durationMs } of [plainStep(sequence), treeStep(sequence)])
      cost.observe({ shape, durationMs, predictedMs: cost.predict(shape) })
  return cost
}

function plainStep(sequence: Sequence) {
  const rows = [decodeRows(sequence, rootOnly(sequence))]
  return { rows, shape: shapeOf(rows), durationMs: PLAIN_MS }
}

function treeStep(sequence: Sequence) {
  const nodes = Array.from({ length: NUM_NODES }, (_, node) => node)
  const tree = { tokens: nodes, parents: nodes.map((node) => node - 1) }
  const rows = [decodeRows(sequence, tree)]
  return { rows, tree, shape: shapeOf(rows), durationMs: PLAIN_MS + (NUM_NODES - 1) * NODE_MS }
}

/** Settles a step with a tree of which so many nodes are accepted, the root included. */
function settleTree(account: DraftAccount, sequence: Sequence, numAccepted: number) {
  const { rows, tree, shape, durationMs } = treeStep(sequence)
  const proposal = proposalOf(sequence, tree)
  const step: DraftedStep = {
    rows,
    shape,
    drafts: new Map([[sequence, { proposal, nodes: tree.tokens }]]),
    asked: [sequence],
    isControl: false,
    unread: 1,
    waitedMs: WAIT_MS,
    choice: { nodes: new Map([[proposal, tree.tokens]]), price: 0.1, plainMs: PLAIN_MS, predictedMs: durationMs },
  }
  const accepted = new Map([[sequence, tree.tokens.slice(0, numAccepted)]])
  return account.settle(step, accepted, durationMs).get(sequence)
}

describe('createDraftAccount', () => {
  const sequence = createTestSequence('s', [1, 2])
  sequence.base = 1 // all but its last token
  let account: DraftAccount
  beforeEach(() => {
    account = createDraftAccount(knownCost(sequence))
    for (let i = 0; i < 200; i++) for (const isDrafted of [true, false]) account.follows(BETWEEN_MS, isDrafted)
  })

  it('charges a draft with its wait and its nodes', () => {
    const outcome = settleTree(account, sequence, 4)
    const costMs = WAIT_MS + (NUM_NODES - 1) * NODE_MS
    assert.equal(outcome?.gained, 3)
    assert.ok(Math.abs(outcome.costMs / costMs - 1) < 0.1, `${outcome.costMs} ms of ${costMs}`)
  })

  it('prices drafts in tokens of plain steps with the time between them', () => {
    assert.deepEqual(createDraftAccount(createCostModel(NO_EXPERTS)).price(plainStep(sequence).shape), {
      fixed: 0,
      each: 0,
      node: 0,
    })
    for (let i = 0; i < 300; i++) settleTree(account, sequence, 4)
    const { fixed, each } = account.price(plainStep(sequence).shape)
    const wanted = (WAIT_MS + (NUM_NODES - 1) * NODE_MS) / (PLAIN_MS + BETWEEN_MS)
    assert.ok(Math.abs((fixed + each) / wanted - 1) < 0.1, `${fixed} + ${each} tokens of ${wanted}`)
  })

  it('knows what steps yield, with the wait and the time between them', () => {
    settleTree(account, sequence, 4)
    const wanted = 4 / (BETWEEN_MS + WAIT_MS + PLAIN_MS + (NUM_NODES - 1) * NODE_MS)
    assert.ok(Math.abs(account.tokensPerMs(1) / wanted - 1) < 0.01)
    assert.equal(account.tokensPerMs(2), 0)
  })

  it('compares with what steps without drafts take now, where the cost model knows other times', () => {
    const { rows, shape } = plainStep(sequence)
    const choice = { nodes: new Map(), price: 1, plainMs: PLAIN_MS, predictedMs: PLAIN_MS }
    const control: DraftedStep = {
      rows,
      shape,
      drafts: new Map(),
      asked: [],
      isControl: true,
      unread: 0,
      waitedMs: 0,
      choice,
    }
    const before = settleTree(account, sequence, 4)
    for (let i = 0; i < 30; i++) assert.equal(account.settle(control, new Map(), 1.3 * PLAIN_MS).size, 0)
    const after = settleTree(account, sequence, 4)
    assert.ok(before !== undefined && after !== undefined)
    const spared = before.costMs - after.costMs
    assert.ok(Math.abs(spared / (0.3 * PLAIN_MS) - 1) < 0.1, `${spared} ms`)
  })

  it('takes no pause of the machine for the time between steps', () => {
    account.follows(1000, true)
    assert.ok(account.betweenMs < 1.3 * BETWEEN_MS, `${account.betweenMs} ms`)
  })
})
