// What the soak counts as different: test/soak/differences.ts.

import assert from 'node:assert/strict'
import { compareChoices, type Compared } from '../../soak/differences.js'

describe('differences between two answers', () => {
  const logprob = (value: number) => ({ token: 1, logprob: value, text: 'a', top: [] })
  const answer: Compared = {
    tokenIds: [1, 2],
    text: 'ab',
    finishReason: 'length',
    logprobs: [logprob(-1), logprob(-2)],
  }
  const compare = (changes: Partial<Compared>) => compareChoices([answer], [{ ...answer, ...changes }])

  it('are none of equal ones', () => assert.deepEqual(compare({}), { count: 0, first: '' }))

  it('are every token, with the first in words', () =>
    assert.deepEqual(compare({ tokenIds: [3, 4] }), { count: 2, first: 'choice 0, token 0: want 1, found 3' }))

  it('are tokens that lack and tokens too many', () => {
    assert.equal(compare({ tokenIds: [1] }).count, 1)
    assert.equal(compare({ tokenIds: [1, 2, 3, 4] }).count, 2)
  })

  it('are log-probabilities down to the last bit', () =>
    assert.equal(compare({ logprobs: [logprob(-1), logprob(-2 + 2 ** -51)] }).count, 1))

  it('are the text and the reason', () => assert.equal(compare({ text: 'b', finishReason: 'stop' }).count, 2))

  it('are choices that lack', () => assert.equal(compareChoices([answer, answer], [answer]).count, 1))
})
