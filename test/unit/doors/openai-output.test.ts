// OpenAI's objects from the engine's events.

import assert from 'node:assert/strict'
import type { TokenLogprob } from '../../../services/router/engine.js'
import {
  chunkChoice,
  finishChoice,
  head,
  textLength,
  usageOf,
  wholeChoice,
  type AcceptedEvent,
  type ChunkEvent,
  type FinishedEvent,
} from '../../../services/router/http/openai-output.js'

const logprob = (token: number, text: string, value: number): TokenLogprob => ({
  token,
  text,
  logprob: value,
  bytes: [...Buffer.from(text)],
})

const chunkOf = (offset: number, ...texts: readonly string[]): ChunkEvent => ({
  kind: 'chunk',
  choice: 0,
  offset,
  tokenIds: texts.map((_, i) => offset + i),
  text: texts.join(''),
  textEnds: texts.map((_, i) => texts.slice(0, i + 1).join('').length),
  logprobs: texts.map((text, i) => ({ ...logprob(offset + i, text, -1), top: [logprob(offset + i, text, -1)] })),
})

const usage = { promptTokens: 3, cachedTokens: 1, completionTokens: 2 }
const end: FinishedEvent = {
  kind: 'finished',
  choice: 0,
  reason: 'stop',
  stopReason: ';',
  usage,
  stats: {
    ttftMs: 1,
    tpotMs: 1,
    tokensPerSecond: 1,
    steps: 1,
    drafted: 0,
    accepted: 0,
    acceptanceLength: 1,
    draftSteps: 0,
    offered: 0,
    draftMs: 0,
    meanPrice: 0,
  },
}

describe('OpenAI’s objects', () => {
  const options = {
    endpoint: 'completions',
    withTokenIds: true,
    withLogprobs: true,
    withTrees: false,
    withStats: false,
  } as const

  it('count a prompt once, however many choices it has', () =>
    assert.deepEqual(usageOf([usage, usage, usage, usage], 2), {
      prompt_tokens: 6,
      completion_tokens: 8,
      total_tokens: 14,
      prompt_tokens_details: { cached_tokens: 2 },
    }))

  it('tell a seed beyond 2^53 as text', () => {
    const accepted = (seed: bigint): AcceptedEvent => ({
      kind: 'accepted',
      requestId: 'r',
      model: 'demo',
      createdUnixMs: 1500,
      promptTokens: 3,
      cachedTokens: 0,
      fingerprint: 'bny-0',
      seed,
    })
    assert.equal(head(accepted(7n), options, false).seed, 7)
    assert.equal(head(accepted(2n ** 64n - 1n), options, false).seed, '18446744073709551615')
  })

  it('of a completion have its log-probabilities in columns, offsets through every chunk', () => {
    const chunks = [chunkOf(0, 'ab', 'c'), chunkOf(2, 'def')]
    const whole = wholeChoice(0, chunks, end, options)
    assert.deepEqual(whole.logprobs, {
      text_offset: [0, 2, 3],
      tokens: ['ab', 'c', 'def'],
      token_logprobs: [-1, -1, -1],
      top_logprobs: [{ ab: -1 }, { c: -1 }, { def: -1 }],
    })
    const [first, second] = chunks
    assert.ok(first !== undefined && second !== undefined)
    const streamed = chunkChoice(0, second, options, textLength(first)).logprobs as { text_offset: number[] } // as above
    assert.deepEqual(streamed.text_offset, [3])
  })

  it('of a chat have an entry per token', () => {
    const { logprobs } = wholeChoice(0, [chunkOf(0, 'é')], end, { ...options, endpoint: 'chat' })
    const entry = { token: 'é', logprob: -1, bytes: [0xc3, 0xa9], token_id: 0 }
    assert.deepEqual(logprobs, { content: [{ ...entry, top_logprobs: [entry] }], refusal: null })
  })

  it('carry ids and log-probabilities only where they were asked for', () => {
    const plain = wholeChoice(0, [chunkOf(0, 'a')], end, { ...options, withTokenIds: false, withLogprobs: false })
    assert.deepEqual(plain, { index: 0, text: 'a', logprobs: null, finish_reason: 'stop', stop_reason: ';' })
  })

  it('carry stats at the end of a choice, where they were asked for', () => {
    const asked = { ...options, withStats: true }
    for (const choice of [finishChoice(0, end, asked), wholeChoice(0, [chunkOf(0, 'a')], end, asked)]) {
      const { steps, acceptance_length: length, tokens_per_second: rate } = choice.stats as Record<string, unknown> // just asked for
      assert.deepEqual([steps, length, rate], [1, 1, 1])
    }
    assert.ok(!('stats' in finishChoice(0, end, options)))
  })

  it('carry ids while their text is held back', () => {
    const held: ChunkEvent = { ...chunkOf(0, 'x'), text: '' }
    assert.deepEqual(chunkChoice(0, held, { ...options, withLogprobs: false }, 0), {
      index: 0,
      text: '',
      logprobs: null,
      finish_reason: null,
      token_ids: [0],
    })
  })
})
