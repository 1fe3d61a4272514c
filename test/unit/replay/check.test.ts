// What a check calls proven: every recorded answer again, and nothing that it could not see.

import assert from 'node:assert/strict'
import { createChunkList } from '../../../replay/src/chunk-list.js'
import { describeCheck } from '../../../cli/replay/check-text.js'
import {
  checkRun,
  RequestFailure,
  systemClock,
  type Answer,
  type RecordedAnswer,
  type TraceRequest,
} from '../../../replay/src/index.js'

const IDS = [7, 8, 9]

const request = (id: string): TraceRequest => ({
  id,
  arrivalMs: 0,
  prompt: { kind: 'tokens', tokens: [1] },
  sampling: {},
  recorded: { fingerprint: 'toy', isWhole: true, finishReasons: ['length'], numTokens: [3], tokenIds: [IDS] },
})

const answer = (
  index: number,
  choices: readonly (readonly number[] | undefined)[],
  failure?: RequestFailure,
): Answer => ({
  dispatch: {
    planned: { index, request: request(`r${index}`), atMs: 0, sessionNum: 0, turnIndex: 0 },
    scheduledMs: 0,
    sentMs: 0,
  },
  id: `replay-${index}`,
  ackMs: 1,
  endMs: 2,
  choices: choices.map((ids) => ({
    text: 'abc',
    tokenIds: ids && [...ids],
    chunks: createChunkList([{ atMs: 1, numTokens: ids?.length }]),
    finishReason: 'length',
    stats: undefined,
  })),
  promptTokens: undefined,
  cachedTokens: undefined,
  completionTokens: undefined,
  fingerprint: 'toy',
  failure,
})

function recordedAs(one: Answer, how: Partial<RecordedAnswer>): Answer {
  const { planned } = one.dispatch
  assert.ok(planned.request.recorded)
  const recorded = { ...planned.request.recorded, ...how }
  return { ...one, dispatch: { ...one.dispatch, planned: { ...planned, request: { ...planned.request, recorded } } } }
}

function check(...answers: readonly Answer[]) {
  const requests = answers.map(({ dispatch }) => dispatch.planned.request)
  return checkRun(answers, { requests }, { fingerprint: 'toy', parts: { weights: 'int8', sampler: '1' } })
}

describe('what a check proves', () => {
  it('that all answers are equal', () => assert.equal(check(answer(0, [IDS]), answer(1, [IDS])).isProven, true))

  it('nothing where an answer came without its ids', () => {
    const { isProven, compared, untold, notCompared } = check(answer(0, [IDS]), answer(1, [undefined]))
    assert.deepEqual([isProven, compared, untold, notCompared], [false, 1, 1, 0])
  })

  it('nothing where an answer has a choice more than was recorded', () => {
    const { isProven, differences } = check(answer(0, [IDS, IDS]))
    assert.deepEqual([isProven, differences[0]?.choice, differences[0]?.replayed], [false, 1, IDS])
  })

  it('nothing where an answer did not come', () => {
    const { isProven, failed } = check(answer(0, [IDS]), answer(1, [], new RequestFailure('http_503', 'busy')))
    assert.deepEqual([isProven, failed], [false, 1])
  })

  it('nothing for answers that were recorded with another fingerprint: they are counted apart, and what differs is said', () => {
    const [same, ...others] = [answer(0, [IDS]), answer(1, [IDS]), answer(2, [[7, 0, 9]])]
    assert.ok(same)
    const parts = { weights: 'int4', sampler: '1' }
    const foreign = others.map((one) => recordedAs(one, { fingerprint: 'other', fingerprintParts: parts }))
    const report = check(same, ...foreign)
    assert.deepEqual(
      [report.mode, report.isProven, report.compared, report.equal, report.differing],
      ['exact', true, 1, 1, 0],
    )
    assert.deepEqual(report.others, { compared: 2, equal: 1 })
    assert.deepEqual(report.fingerprintDifferences, [{ part: 'weights', recorded: 'int4', served: 'int8' }])
    assert.deepEqual(describeCheck(report), [
      'check: 1 compared, 0 differing',
      '  2 recorded with another fingerprint, which prove nothing: 1 of them equal; weights: recorded int4, served int8',
    ])
    assert.equal(check(...foreign).mode, 'divergence')
    assert.deepEqual(check(...foreign).others, { compared: 0, equal: 0 })
  })
})

describe("the replayer's clock", () => {
  it('waits longer than one timer of the platform can', async () => {
    let fired = 0
    const cancels = [2 ** 31, 3e9, Number.MAX_SAFE_INTEGER].map((ms) => systemClock.after(ms, () => (fired += 1)))
    await new Promise<void>((resolve) => void systemClock.after(20, resolve)) // an overflown timer fires after 1 ms
    for (const cancel of cancels) cancel()
    assert.equal(fired, 0)
  })
})
