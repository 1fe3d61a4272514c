import assert from 'node:assert/strict'
import type { Handlers, MessageContext } from '../../../lib/actor/actor.js'
import { ClusterError } from '../../../lib/errors.js'
import { MESSAGE_SCHEMAS, type Body, type Message } from '../../../lib/wire/messages.js'
import { packI32, readF32, readI32 } from '../../../lib/wire/tensor.js'
import { drafterHandlers } from '../../../services/drafter/draft-actor.js'
import { emptyDraft, type DraftSource } from '../../../services/drafter/draft-source.js'
import { createPromptLookup } from '../../../services/drafter/prompt-lookup.js'

const CONTEXT: MessageContext = {
  sender: 'router-0',
  deadlineMs: 0,
  traceparent: undefined,
  signal: new AbortController().signal,
}
const LIMITS = { maxNodes: 16, maxSequences: 3, maxTokens: 100 }

const newDrafter = (limits = LIMITS): Handlers => drafterHandlers([createPromptLookup()], limits)

interface Update {
  readonly sequence: string
  readonly from: number
  readonly tokens: readonly number[]
}

async function propose(handlers: Handlers, updates: readonly Update[], maxNodes = 4) {
  const entries = updates.map((update) => ({ ...update, tokens: packI32(update.tokens) }))
  const answer = await handlers['draft.propose']?.(
    { kind: 'draft.propose', step: 'step-1', maxNodes, entries },
    CONTEXT,
  )
  return readTrees(answer)
}

function readTrees(answer: Message | undefined | void) {
  const { step, entries }: Body<'draft.trees'> = MESSAGE_SCHEMAS['draft.trees'].parse(answer)
  assert.equal(step, 'step-1')
  return entries.map(({ sequence, resend, tokens, parents, values }) => ({
    sequence,
    resend,
    tokens: [...readI32(tokens, 'tokens')],
    parents: [...readI32(parents, 'parents')],
    numValues: readF32(values, 'values').length,
  }))
}

const proposeOne = async (handlers: Handlers, update: Update, maxNodes = 4) =>
  (await propose(handlers, [update], maxNodes))[0]

const CHAIN = { sequence: 's', resend: false, tokens: [1, 2, 3, 1], parents: [-1, 0, 1, 2], numValues: 4 }

describe('drafterHandlers', () => {
  it('answers every entry in order, root first', async () => {
    const updates = ['a', 'b'].map((sequence) => ({ sequence, from: 0, tokens: [1, 2, 3, 1] }))
    const expected = ['a', 'b'].map((sequence) => ({ ...CHAIN, sequence }))
    assert.deepEqual(await propose(newDrafter(), updates), expected)
  })

  it('drafts from tokens that came in pieces', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 2] })
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 2, tokens: [3, 1] }), CHAIN)
  })

  it('gives the same tree to a repeated and to an overlapping message', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 2, 3, 1] })
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 2, 3, 1] }), CHAIN)
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 2, tokens: [3, 1] }), CHAIN)
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 4, tokens: [] }), CHAIN)
  })

  const NOTHING = { sequence: 's', resend: true, tokens: [1], parents: [-1], numValues: 1 }

  it('asks for all tokens where it does not hold those before', async () => {
    assert.deepEqual(await proposeOne(newDrafter(), { sequence: 's', from: 3, tokens: [1] }), NOTHING)
  })

  it('asks for all tokens where it knows none and gets none', async () => {
    const nothing = { ...NOTHING, tokens: [], parents: [], numValues: 0 }
    assert.deepEqual(await proposeOne(newDrafter(), { sequence: 's', from: 0, tokens: [] }), nothing)
  })

  it('asks for all tokens where new ones contradict what it holds, and believes what it then gets', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { sequence: 's', from: 0, tokens: [5, 5, 5] })
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 1, tokens: [6, 1] }), NOTHING)
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 2, 3, 1] }), CHAIN)
  })

  it('believes a whole sequence that contradicts what it holds', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 5, 5] })
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 2, 3, 1] }), CHAIN)
  })

  it('keeps to its own bound on nodes and always gives the root', async () => {
    const update = { sequence: 's', from: 0, tokens: [1, 2, 3, 1] }
    const sizes = await Promise.all(
      [0, 2, 1000].map((maxNodes) => proposeOne(newDrafter({ ...LIMITS, maxNodes: 3 }), update, maxNodes)),
    )
    assert.deepEqual(
      sizes.map((tree) => tree?.tokens.length),
      [1, 2, 3],
    )
  })

  it('holds nothing of a forgotten sequence', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { sequence: 's', from: 0, tokens: [1, 2, 3] })
    await drafter['draft.forget']?.({ kind: 'draft.forget', sequences: ['s', 'unknown'] }, CONTEXT)
    assert.deepEqual(await proposeOne(drafter, { sequence: 's', from: 3, tokens: [1] }), NOTHING)
  })

  for (const [bound, limits] of [
    ['sequences', { ...LIMITS, maxSequences: 2 }],
    ['tokens', { ...LIMITS, maxTokens: 8 }],
  ] as const) {
    it(`drops the least recently used sequence above its bound on ${bound}`, async () => {
      const drafter = newDrafter(limits)
      for (const sequence of ['s', 't']) await proposeOne(drafter, { sequence, from: 0, tokens: [1, 2, 3] })
      await proposeOne(drafter, { sequence: 's', from: 3, tokens: [1] })
      await proposeOne(drafter, { sequence: 'u', from: 0, tokens: [1, 2, 3] })
      const trees = await propose(
        drafter,
        ['s', 't'].map((sequence) => ({ sequence, from: 3, tokens: [1] })),
      )
      assert.deepEqual(
        trees.map(({ sequence, resend }) => [sequence, resend]),
        [
          ['s', false],
          ['t', true],
        ],
      )
    })
  }

  it('takes the draft of the source that promises most', async () => {
    const source = (name: string, value: number): DraftSource => ({
      name,
      observe: () => undefined,
      propose: (_sequence, committed) => ({
        tokens: Int32Array.of(committed[committed.length - 1]!, Math.round(value * 10)),
        parents: Int32Array.of(-1, 0),
        values: Float32Array.of(1, value),
      }),
      forget: () => undefined,
    })
    const nothing: DraftSource = {
      ...source('nothing', 0),
      propose: (_sequence, committed) => emptyDraft(committed[0]!),
    }
    const handlers = drafterHandlers([nothing, source('weak', 0.2), source('strong', 0.7)], LIMITS)
    assert.deepEqual((await proposeOne(handlers, { sequence: 's', from: 0, tokens: [5] }))?.tokens, [5, 7])
  })

  it('names a tensor of the wrong type', () => {
    const entries = [{ sequence: 's', from: 0, tokens: { dtype: 'f32' as const, shape: [0], data: new Uint8Array(0) } }]
    assert.throws(
      () =>
        drafterHandlers([], LIMITS)['draft.propose']?.(
          { kind: 'draft.propose', step: 'step-1', maxNodes: 4, entries },
          CONTEXT,
        ),
      (error) => error instanceof ClusterError && /tokens: want dtype i32/.test(error.message),
    )
  })
})
