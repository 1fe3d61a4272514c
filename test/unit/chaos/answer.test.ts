import assert from 'node:assert/strict'
import { addedGapsMs, numDiffering, numDuplicated, recordAnswer } from '../../chaos/answer.js'

describe('an answer as its client received it', () => {
  let nowMs = 0
  const record = (numChoices = 1) => recordAnswer(numChoices, () => nowMs)
  const whole = (ids: readonly number[]) => {
    const recorder = record()
    recorder.tokens(0, ids)
    recorder.finished(0, 'length')
    return recorder.answer()
  }

  it('is whole when every choice ended once', () => {
    const recorder = record(2)
    recorder.tokens(0, [1, 2], 0)
    recorder.tokens(1, [7], 0)
    recorder.tokens(0, [3], 2)
    recorder.finished(0, 'length')
    assert.match(recorder.answer().problem ?? '', /choice 1: want one end, found 0/)
    recorder.finished(1, 'stop')
    assert.equal(recorder.answer().problem, undefined)
    assert.deepEqual(
      recorder.answer().choices.map(({ tokenIds }) => tokenIds),
      [[1, 2, 3], [7]],
    )
  })

  it('counts tokens that come again once, and takes what is new', () => {
    const recorder = record()
    recorder.tokens(0, [1, 2, 3], 0)
    recorder.tokens(0, [2, 3, 4], 1)
    recorder.finished(0, 'length')
    const answer = recorder.answer()
    assert.equal(numDuplicated(answer), 2)
    assert.deepEqual(answer.choices[0]?.tokenIds, [1, 2, 3, 4])
  })

  const broken: readonly [string, (recorder: ReturnType<typeof record>) => void, RegExp][] = [
    ['a gap', (recorder) => recorder.tokens(0, [5], 3), /want token 1 next, found 3/],
    ['tokens after the end', (recorder) => (recorder.finished(0, 'stop'), recorder.tokens(0, [5])), /after its end/],
    ['two ends', (recorder) => (recorder.finished(0, 'stop'), recorder.finished(0, 'stop')), /want one end, found 2/],
    ['an end by an error', (recorder) => recorder.finished(0, 'error'), /found 1 \(error\)/],
    ['a choice nobody asked for', (recorder) => recorder.tokens(1, [5]), /choice 1 was not asked for/],
  ]
  for (const [title, play, words] of broken) {
    it(`${title} is a problem`, () => {
      const recorder = record()
      recorder.tokens(0, [1], 0)
      play(recorder)
      assert.match(recorder.answer().problem ?? '', words)
    })
  }

  it('differs where a token is another, missing or too many', () => {
    assert.equal(numDiffering(whole([1, 2, 3]), whole([1, 2, 3])), 0)
    assert.equal(numDiffering(whole([1, 2, 3]), whole([1, 9, 3])), 1)
    assert.equal(numDiffering(whole([1, 2, 3]), whole([1])), 2)
    assert.equal(numDiffering(whole([1]), whole([1, 2])), 1)
  })

  it('waited longest for its first token or between two', () => {
    const waits = (...times: readonly number[]) => {
      nowMs = 0
      const recorder = record()
      for (const time of times) {
        nowMs = time
        recorder.tokens(0, [1])
      }
      return recorder.answer()
    }
    assert.deepEqual(addedGapsMs(waits(10, 20, 35), waits(10, 20, 135)), [100])
    assert.deepEqual(addedGapsMs(waits(10, 20, 35), waits(300, 310)), [290])
  })
})
