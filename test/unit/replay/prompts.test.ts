// What the served tokenizer is asked before a run: a bounded number of questions at a time, and none without need.

import assert from 'node:assert/strict'
import { createPrompts, withOutputLengths, type Tokenizer, type TraceRequest } from '../../../replay/src/index.js'

const request = (id: string, more: Partial<TraceRequest>): TraceRequest => ({
  id,
  arrivalMs: 0,
  prompt: { kind: 'text', text: 'hello' },
  sampling: {},
  ...more,
})

const requests = Array.from({ length: 200 }, (_, i) => request(`r${i}`, { outputText: 'a '.repeat(i + 1).trim() }))

/** One token per word, after a turn of the event loop. */
function wordTokenizer(onAsked: (count: number) => void = () => undefined) {
  const state = { asked: 0, running: 0, most: 0 }
  const tokenizer: Tokenizer = {
    tokenize: async (text) => {
      state.asked += 1
      state.running += 1
      state.most = Math.max(state.most, state.running)
      await new Promise((resolve) => setImmediate(resolve))
      state.running -= 1
      onAsked(state.asked)
      return text.split(' ').map((_, i) => i)
    },
    detokenize: (tokens) => Promise.resolve(tokens.map(() => 'a').join(' ')),
  }
  return { tokenizer, state }
}

describe('what is asked before a replay', () => {
  const made = [request('made', { prompt: { kind: 'blocks', numTokens: 2_000, blockTokens: 512, blocks: [] } })]
  const tokensOf = async (options: Omit<Parameters<typeof createPrompts>[1], 'seed' | 'form'>): Promise<number[]> => {
    const { promptOf } = await createPrompts(made, { seed: 1n, form: 'ids', ...options })
    const prompt = made[0] && promptOf(made[0])
    return prompt?.kind === 'tokens' ? [...prompt.tokens] : assert.fail('no ids')
  }

  it('which ids no prompt may hold', async () => {
    const reservedTokens = [
      { first: 0, last: 3 },
      { first: 60, last: 99 },
    ]
    const tokens = await tokensOf({ vocabSize: 100, reservedTokens })
    assert.deepEqual([tokens.length, Math.min(...tokens), Math.max(...tokens)], [2_000, 4, 59])
  })

  it('ids of words, where the vocabulary is not told: not what was put around them', async () => {
    const tokenizer: Tokenizer = {
      tokenize: (text) =>
        Promise.resolve([
          1,
          ...text
            .trim()
            .split(' ')
            .map((word) => 100 + (word.codePointAt(0) ?? 0)),
          2,
        ]),
      detokenize: () => Promise.reject(new Error('not asked')),
    }
    const tokens = await tokensOf({ tokenizer })
    assert.ok(tokens.length === 2_000 && tokens.every((id) => id > 100), `${Math.min(...tokens)}`)
  })

  it('the bare length of an answer', async () => {
    const tokenizer: Tokenizer = {
      tokenize: (text, { isBare = false } = {}) =>
        Promise.resolve(Array<number>(text.length + (isBare ? 0 : 1)).fill(7)),
      detokenize: () => Promise.reject(new Error('not asked')),
    }
    const [one] = await withOutputLengths([request('r', { outputText: 'abc' })], tokenizer)
    assert.equal(one?.outputTokens, 3)
  })

  it('lengths of recorded texts, several at a time', async () => {
    const { tokenizer, state } = wordTokenizer()
    const measured = await withOutputLengths(requests, tokenizer)
    assert.deepEqual(
      measured.map(({ outputTokens }) => outputTokens),
      requests.map((_, i) => i + 1),
    )
    assert.ok(state.most > 1 && state.most <= 16, `${state.most} at a time`)
  })

  it('nothing more after the first failure, or after an interruption', async () => {
    const broken = wordTokenizer((count) => {
      if (count >= 20) throw new Error('gone')
    })
    const measured = await withOutputLengths(requests, broken.tokenizer)
    assert.ok(broken.state.asked < 60, `${broken.state.asked} asked`)
    assert.ok(measured.every(({ outputTokens = 0 }) => outputTokens > 0))

    const controller = new AbortController()
    const stopped = wordTokenizer(() => controller.abort())
    await withOutputLengths(requests, stopped.tokenizer, controller.signal)
    assert.ok(stopped.state.asked <= 16, `${stopped.state.asked} asked`)
  })

  it('no texts of made prompts once the tokenizer fails: words do, and that is said', async () => {
    const broken = wordTokenizer(() => {
      throw new Error('gone')
    })
    const made = requests.map(({ id }) =>
      request(id, { prompt: { kind: 'blocks', numTokens: 9, blockTokens: 4, blocks: [] } }),
    )
    const options = { seed: 1n, vocabSize: 50, tokenizer: broken.tokenizer, form: 'text' } as const
    const { promptOf, notices } = await createPrompts(made, options)
    const [first] = made
    const prompt = first && promptOf(first)
    assert.equal(prompt?.kind === 'text' && prompt.text.split(' ').length, 9)
    assert.equal(notices.length, 1)
    assert.ok(broken.state.asked <= 16)
  })
})
