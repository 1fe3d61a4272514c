// Decides what a source's estimates are worth after it was seen to be right or wrong.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createCalibration, type Calibration } from '../../../services/drafter/calibration.js'
import { CandidateTree } from '../../../services/drafter/candidate-tree.js'

const RIGHT = 1
const WRONG = 2

interface Claim {
  readonly says: number
  readonly isRight: boolean
  readonly isGreedy?: boolean
  readonly sources?: readonly number[]
}

/** A source proposes RIGHT after the root, and it comes true or does not. */
function observeClaim(calibration: Calibration, { says, isRight, isGreedy = true, sources = [0] }: Claim): void {
  const tree = new CandidateTree(0, calibration.for(isGreedy), 8)
  for (const source of sources) tree.add(0, RIGHT, source, says)
  calibration.observe(tree, isGreedy, [isRight ? RIGHT : WRONG])
}

/** The same claim `times` times, right in a share of them, evenly spread. */
function observeShare(calibration: Calibration, claim: Omit<Claim, 'isRight'>, share: number, times = 400): void {
  for (let i = 0; i < times; i++) {
    observeClaim(calibration, { ...claim, isRight: Math.floor((i + 1) * share) > Math.floor(i * share) })
  }
}

const isAbout = (value: number, wanted: number): void =>
  assert.ok(Math.abs(value - wanted) < 0.06, `${value}, want about ${wanted}`)

describe('createCalibration', () => {
  for (const [says, share] of [
    [0.9, 0.3],
    [0.2, 0.6],
    [0.5, 0.5],
  ] as const) {
    it(`learns that a source that says ${says} is right ${share} of the time`, () => {
      const calibration = createCalibration(['a'])
      observeShare(calibration, { says }, share)
      isAbout(calibration.for(true).ofSource(0, 1, says), share)
    })
  }

  it('believes a source that it has never seen', () => {
    isAbout(createCalibration(['a']).for(false).ofSource(0, 3, 0.4), 0.4)
  })

  it('K1 gives values in (0, 1), whatever is said and seen', () => {
    const anyShare = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.tuple(anyShare, fc.boolean()), { maxLength: 100 }), anyShare, (claims, asked) => {
        const calibration = createCalibration(['a', 'b'])
        for (const [says, isRight] of claims) observeClaim(calibration, { says, isRight, sources: [0, 1] })
        const learned = calibration.for(true)
        const estimate = learned.ofSource(0, 1, asked)
        for (const value of [estimate, learned.ofSources(3, estimate)]) {
          assert.ok(value > 0 && value < 1, `${value}`)
        }
      }),
    )
  })

  it('K1 keeps the order of estimates that are close', () => {
    const close = fc.double({ min: 0.6, max: 0.605, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 50 }), close, close, (outcomes, a, b) => {
        const calibration = createCalibration(['a'])
        for (const isRight of outcomes) observeClaim(calibration, { says: 0.6, isRight })
        const learned = calibration.for(true)
        const [less, more] = [Math.min(a, b), Math.max(a, b)]
        assert.ok(learned.ofSource(0, 1, less) <= learned.ofSource(0, 1, more))
      }),
    )
  })

  //   0 ── 1:RIGHT ── 3:7      the path 0, 2, 4 comes true
  //    └── 2:WRONG ── 4:8
  //                └─ 5:9
  it('K2 counts the children of nodes on the committed path only', () => {
    const calibration = createCalibration(['a'])
    const tree = new CandidateTree(0, calibration.for(true), 8)
    tree.add(0, RIGHT, 0, 0.5)
    tree.add(0, WRONG, 0, 0.5)
    tree.add(1, 7, 0, 0.5)
    tree.add(2, 8, 0, 0.5)
    tree.add(2, 9, 0, 0.5)
    calibration.observe(tree, true, [WRONG, 8, 5])
    assert.deepEqual(
      [1, 2, 3].map((depth) => calibration.counts().get(`a ${depth}`)),
      [{ proposed: 2, correct: 1 }, { proposed: 2, correct: 1 }, undefined],
    )
  })

  it('K2 learns nothing of a depth whose parents were wrong', () => {
    const calibration = createCalibration(['a'])
    for (let i = 0; i < 100; i++) {
      const tree = new CandidateTree(0, calibration.for(true), 8)
      tree.add(tree.add(0, RIGHT, 0, 0.8)!, 7, 0, 0.8)
      calibration.observe(tree, true, [WRONG, 7])
    }
    const learned = calibration.for(true)
    isAbout(learned.ofSource(0, 2, 0.8), 0.8)
    assert.ok(learned.ofSource(0, 1, 0.8) < 0.2)
  })

  it('keeps greedy and sampled drafts apart', () => {
    const calibration = createCalibration(['a'])
    observeShare(calibration, { says: 0.6, isGreedy: true }, 0.9)
    observeShare(calibration, { says: 0.6, isGreedy: false }, 0.2)
    isAbout(calibration.for(true).ofSource(0, 1, 0.6), 0.9)
    isAbout(calibration.for(false).ofSource(0, 1, 0.6), 0.2)
  })

  it('keeps sources apart', () => {
    const calibration = createCalibration(['a', 'b'])
    observeShare(calibration, { says: 0.6, sources: [0] }, 0.9)
    observeShare(calibration, { says: 0.6, sources: [1] }, 0.2)
    isAbout(calibration.for(true).ofSource(0, 1, 0.6), 0.9)
    isAbout(calibration.for(true).ofSource(1, 1, 0.6), 0.2)
  })

  it('learns what it means that two sources agree', () => {
    const calibration = createCalibration(['a', 'b'])
    for (let i = 0; i < 200; i++) {
      observeShare(calibration, { says: 0.5, sources: [0, 1] }, 1, 1)
      observeShare(calibration, { says: 0.5, sources: [i % 2] }, 0, 1)
    }
    const learned = calibration.for(true)
    const estimate = learned.ofSource(0, 1, 0.5)
    isAbout(learned.ofSources(0b01, estimate), estimate)
    isAbout(learned.ofSources(0b11, estimate), 1)
  })

  it('K3 follows a change of text, however long the other text was', () => {
    const calibration = createCalibration(['a'])
    observeShare(calibration, { says: 0.8 }, 1, 20_000)
    observeShare(calibration, { says: 0.8 }, 0, 2000)
    assert.ok(calibration.for(true).ofSource(0, 1, 0.8) < 0.3)
  })
})
