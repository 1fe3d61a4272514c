// The mix of the chaos suite: test/chaos/requests.ts.

import assert from 'node:assert/strict'
import { chooseCases } from '../../chaos/cases.js'
import { drawRequests } from '../../chaos/requests.js'

const BLOCK_TOKENS = 16 // of the prefix cache

describe('requests of the chaos suite', () => {
  it('are the same for the same seed', () => assert.deepEqual(drawRequests(8, 1), drawRequests(8, 1)))

  it('have prompts of the length that is asked for, none with the first block of another', () => {
    const prompts = drawRequests(32, 1, { promptTokens: 256 }).map(({ request }) => request.tokens ?? [])
    for (const prompt of prompts) assert.equal(prompt.length, 256)
    assert.equal(new Set(prompts.map((prompt) => prompt.slice(0, BLOCK_TOKENS).join(' '))).size, prompts.length)
  })

  it('ask for the same answers but for their prompts', () => {
    const [short, long] = [undefined, 256].map((promptTokens) => drawRequests(8, 1, { promptTokens }))
    const rest = (requests = drawRequests(0, 1)): unknown =>
      requests.map(({ name, request: { text: _text, tokens: _tokens, ...request } }) => ({ name, request }))
    assert.deepEqual(rest(long), rest(short))
  })

  it('have 256 tokens where an attention worker is killed: that is what the goal of two seconds is for', () => {
    for (const word of ['kill-attention', 'kill-attention-alone']) {
      for (const chaosCase of chooseCases([word])) assert.equal(chaosCase.promptTokens, 256, chaosCase.name)
    }
  })
})
