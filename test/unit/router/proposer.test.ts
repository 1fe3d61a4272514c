// P1 and P3 of the proposer: what a drafter that fails costs, and what each one is told.

import assert from 'node:assert/strict'
import { packF32, readF32, readI32 } from '../../../lib/wire/tensor.js'
import { keepHidden } from '../../../services/router/hidden-backlog.js'
import type { Sequence } from '../../../services/router/sequence.js'
import {
  chainEntry,
  decodingSequence,
  GONE,
  honest,
  LATE,
  setUpProposer,
  type Drafter,
  type ProposerSetup,
} from './scripted-drafters.js'
import { promptOf } from './sequences.js'

describe('proposer', () => {
  let setup: ProposerSetup
  beforeEach(() => {
    setup = setUpProposer()
  })

  it('brings the tree with its values and the names of its sources', async () => {
    setup.startDrafter('d')
    const sequence = decodingSequence()
    const { proposals } = await setup.propose(sequence)
    const [{ tree, values, sources }] = proposals as [(typeof proposals)[number]]
    assert.deepEqual(
      [[...Array.from(tree.tokens)], [...values], sources],
      [
        [sequence.tokens.at(-1), 3],
        [1, 0.5],
        [[], ['ngram']],
      ],
    )
  })

  it('asks nobody where there is no drafter, and waits for nothing', async () => {
    assert.deepEqual(
      [setup.proposer.hasDrafter, await setup.propose(decodingSequence())],
      [false, { proposals: [], waitedMs: 0 }],
    )
  })

  for (const [what, error] of [
    ['is late', LATE],
    ['is dead', GONE],
  ] as const) {
    it(`a drafter that ${what} costs one deadline, then nothing for a pause that doubles (P1)`, async () => {
      setup.startDrafter('d', () => error)
      const sequence = decodingSequence()
      const pauses: number[] = []
      for (let failure = 0; failure < 12; failure++) {
        await setup.propose(sequence)
        const askedAtMs = setup.clock.now()
        for (let i = 0; !setup.proposer.hasDrafter; i++) {
          assert.ok(i < 1000, 'the pause ends')
          await setup.propose(sequence) // asks nobody
          setup.clock.advance(100)
          setup.startDrafter('d', () => error) // it beats
        }
        pauses.push(setup.clock.now() - askedAtMs)
      }
      assert.equal(setup.asked.length, 12)
      assert.ok(setup.asked.every(({ timeoutMs }) => timeoutMs <= 500))
      assert.deepEqual(pauses, [...Array.from({ length: 10 }, (_, i) => 100 * 2 ** i), 60_000, 60_000])
    })
  }

  it('asks nothing of a drafter that is not heard of again', async () => {
    setup.startDrafter('d', () => LATE)
    await setup.propose(decodingSequence())
    setup.clock.advance(1500)
    assert.equal(setup.proposer.hasDrafter, false)
    setup.startDrafter('d')
    assert.equal(setup.proposer.hasDrafter, true)
  })

  it('gives a drafter more time for many tokens that it has not seen', async () => {
    setup.startDrafter('d')
    await setup.propose(decodingSequence('short', 5))
    await setup.propose(decodingSequence('long', 5000))
    const [short = 0, long = 0] = setup.asked.map(({ timeoutMs }) => timeoutMs)
    assert.ok(short < long && long <= 500, `${short}, ${long} ms`)
  })

  it('an answer ends the doubling', async () => {
    setup.startDrafter('d', () => LATE)
    const sequence = decodingSequence()
    for (let i = 0; i < 4; i++) {
      await setup.propose(sequence)
      setup.clock.advance(60_000)
      setup.startDrafter('d', () => LATE)
    }
    setup.startDrafter('d')
    assert.equal((await setup.propose(sequence)).proposals.length, 1)
    setup.startDrafter('d', () => LATE)
    await setup.propose(sequence)
    setup.clock.advance(100)
    setup.startDrafter('d')
    assert.equal(setup.proposer.hasDrafter, true)
  })

  it('one drafter’s silence keeps nothing from another', async () => {
    setup.startDrafter('frozen', () => LATE)
    setup.startDrafter('good')
    const sequences = ['a', 'b', 'c', 'd'].map((id) => decodingSequence(id))
    assert.equal((await setup.propose(...sequences)).proposals.length, 2)
    for (const { tokens } of sequences) tokens.push(1)
    assert.equal((await setup.propose(...sequences)).proposals.length, 4)
  })

  it('tells a drafter what is new, and everything once with whom it is for (P3)', async () => {
    setup.startDrafter('d')
    const sequence = { ...decodingSequence(), tenant: 'anna' }
    await setup.propose(sequence)
    const first = setup.entryFor(sequence)
    sequence.tokens.push(8, 9)
    await setup.propose(sequence)
    const second = setup.entryFor(sequence)
    assert.deepEqual(
      [first.from, [...readI32(first.tokens, 'tokens')], first.start?.scope],
      [0, promptOf(5), 'scope of anna'],
    )
    assert.deepEqual([second.from, [...readI32(second.tokens, 'tokens')], second.start], [5, [8, 9], undefined])
  })

  it('stays with its drafter when others come, and tells the next one everything when it goes (P3)', async () => {
    setup.startDrafter('b')
    const sequence = decodingSequence()
    await setup.propose(sequence)
    for (const other of ['a', 'c']) setup.startDrafter(other)
    sequence.tokens.push(8)
    await setup.propose(sequence)
    assert.deepEqual([setup.asked.map(({ drafter }) => drafter), setup.entryFor(sequence).from], [['b', 'b'], 5])
    setup.stopDrafter('b')
    await setup.propose(sequence)
    assert.notEqual(setup.asked.at(-1)?.drafter, 'b')
    assert.deepEqual([setup.entryFor(sequence).from, setup.entryFor(sequence).start?.promptLength], [0, 5])
  })

  it('tells everything again after a failure, or where the drafter says so', async () => {
    setup.startDrafter('d')
    const sequence = decodingSequence()
    const fromAfter = async (drafter: Drafter): Promise<number> => {
      setup.startDrafter('d')
      await setup.propose(sequence)
      setup.startDrafter('d', drafter)
      await setup.propose(sequence)
      setup.clock.advance(60_000)
      setup.startDrafter('d')
      await setup.propose(sequence)
      return setup.entryFor(sequence).from
    }
    assert.equal(await fromAfter(honest), 5)
    assert.equal(await fromAfter(() => LATE), 0)
    assert.equal(await fromAfter(({ entries }) => entries.map((entry) => chainEntry(entry, { resend: true }))), 0)
    assert.equal(await fromAfter(() => []), 5, 'an entry that lacks changes nothing')
  })

  it('spreads sequences over the drafters', async () => {
    for (const id of ['a', 'b']) setup.startDrafter(id)
    await setup.propose(...['1', '2', '3', '4'].map((id) => decodingSequence(id)))
    assert.deepEqual(
      setup.asked.map(({ question }) => question.entries.length),
      [2, 2],
    )
  })

  describe('hidden rows', () => {
    const rows = packF32(Float32Array.of(1, 2, 3, 4), [2, 2])
    const withHidden = (): Sequence => ({ ...decodingSequence(), hidden: keepHidden(undefined, rows, [0, 1], 2) })

    it('are wanted where some drafter reads them', () => {
      setup.startDrafter('a')
      assert.equal(setup.proposer.readsHidden, false)
      setup.startDrafter('b', honest, { hidden: 2 })
      assert.equal(setup.proposer.readsHidden, true)
    })

    it('go to the drafter once it answers, and are kept until then', async () => {
      setup.startDrafter('d', () => LATE)
      const sequence = withHidden()
      await setup.propose(sequence)
      setup.clock.advance(1000)
      setup.startDrafter('d', ({ entries }) => entries.map((entry) => chainEntry(entry, { resend: true })))
      await setup.propose(sequence)
      setup.startDrafter('d')
      await setup.propose(sequence)
      const sent = setup.asked.map(({ question }) => question.entries[0]?.hidden)
      for (const hidden of sent)
        assert.deepEqual(
          [hidden?.from, [...readF32(hidden?.rows ?? packF32(new Float32Array(0)), 'rows')]],
          [2, [1, 2, 3, 4]],
        )
      await setup.propose(sequence)
      assert.deepEqual([sent.length, setup.entryFor(sequence).hidden], [3, undefined])
    })
  })

  describe('forget', () => {
    it('goes to the drafter of the sequence, and to nobody where it has none', async () => {
      for (const id of ['a', 'b']) setup.startDrafter(id)
      const sequences = ['1', '2', '3', '4'].map((id) => decodingSequence(id))
      await setup.propose(...sequences)
      setup.proposer.forget(['2', '3', 'unknown'])
      const homeOf = (id: string): string | undefined =>
        setup.asked.find(({ question }) => question.entries.some(({ sequence }) => sequence === id))?.drafter
      const want = ['2', '3'].map((id) => ({ drafter: homeOf(id), message: { kind: 'draft.forget', sequences: [id] } }))
      assert.deepEqual(setup.told, want)
    })

    it('is said once, and not to a drafter that is gone', async () => {
      setup.startDrafter('d')
      await setup.propose(decodingSequence('1'), decodingSequence('2'))
      setup.proposer.forget(['1'])
      setup.proposer.forget(['1'])
      setup.stopDrafter('d')
      setup.proposer.forget(['2'])
      assert.deepEqual(
        setup.told.map(({ message }) => message),
        [{ kind: 'draft.forget', sequences: ['1'] }],
      )
    })

    it('lets a sequence that runs again tell everything anew', async () => {
      setup.startDrafter('d')
      const sequence = decodingSequence()
      await setup.propose(sequence)
      setup.proposer.forget([sequence.id]) // preempted
      await setup.propose(sequence)
      assert.equal(setup.entryFor(sequence).from, 0)
    })
  })
})
