// Long prompts beside other work, and patterns that mean harm.

import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { tokenizerOf, type ModelTokenizer } from '../../../lib/model/tokenizer.js'
import { createTokenise } from '../../../services/router/tokenising.js'

/** Of a and b, and what they merge to, with a pattern of its own. */
function tokenizerWith(pattern: string): ModelTokenizer {
  const json = {
    model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2, abab: 3, '!': 4 }, merges: ['a b', 'ab ab'] },
    pre_tokenizer: { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated' },
    decoder: { type: 'Fuse' },
  }
  return tokenizerOf({ path: 'm/tokenizer.json', json, config: {} }, 5)
}

/** A clock that counts the turns it gives, and calls at each. */
function countingClock(onTurn: (turns: number) => void = () => undefined) {
  let turns = 0
  const turn = (): Promise<void> => {
    onTurn((turns += 1))
    return systemClock.turn()
  }
  return { ...systemClock, turn, turns: () => turns }
}

describe('tokenising', function () {
  this.timeout(30_000)
  const words = 'ab'.repeat(7).concat('!').repeat(20_000) // 300,000 characters
  const word = 'ab'.repeat(150_000)

  for (const [title, text] of [
    ['many pieces', words],
    ['one piece', word],
  ] as const) {
    it(`gives the event loop its turns while a long prompt of ${title} is read, and the ids of one go`, async () => {
      const tokenizer = tokenizerWith('!')
      const clock = countingClock()
      assert.deepEqual(await createTokenise(tokenizer, clock)(text), tokenizer.encode(text))
      assert.ok(clock.turns() >= text.length / 8192, `${clock.turns()} turns`)
    })
  }

  it('gives the event loop its turns while many short prompts are read that came together', async () => {
    const tokenizer = tokenizerWith('!')
    const clock = countingClock()
    const tokenise = createTokenise(tokenizer, clock)
    const texts = Array.from({ length: 100 }, (_, i) => 'ab!'.repeat(1000 + i))
    const ids = await Promise.all(texts.map((text) => tokenise(text)))
    assert.deepEqual(
      ids,
      texts.map((text) => tokenizer.encode(text)),
    )
    assert.ok(clock.turns() >= 99, `${clock.turns()} turns`)
  })

  it('reads long prompts one after another, shorter ones beside them, and short ones at once', async () => {
    const clock = countingClock()
    const tokenise = createTokenise(tokenizerWith('!'), clock)
    const ended: string[] = []
    const read = async (name: string, text: string): Promise<void> => {
      await tokenise(text)
      ended.push(name)
    }
    const middle = words.slice(0, 10_000)
    await Promise.all([read('first', words), read('second', words), read('middle', middle), read('short', 'abab')])
    assert.deepEqual(ended, ['short', 'middle', 'first', 'second'])
  })

  it('ends soon after its client left, and lets the next one have its turn', async () => {
    const controller = new AbortController()
    const clock = countingClock((turns) => {
      if (turns === 3) controller.abort()
    })
    const tokenise = createTokenise(tokenizerWith('!'), clock)
    const left = assert.rejects(
      tokenise(words, {}, controller.signal),
      (error: unknown) => error instanceof ClusterError && error.code === 'cancelled' && clock.turns() < 6,
    )
    const [ids] = await Promise.all([tokenise(words), left])
    assert.equal(ids.length, 20_000 * 5)
  })

  it('refuses long prompts above its bound, and short ones never (TO3)', async () => {
    const tokenise = createTokenise(tokenizerWith('!'), systemClock)
    const controller = new AbortController()
    const large = 'ab!'.repeat(6 * 1024 * 1024)
    const running = tokenise(words)
    const left = assert.rejects(tokenise(large, {}, controller.signal), /left/)
    await assert.rejects(
      tokenise(large),
      (error: unknown) =>
        error instanceof ClusterError &&
        error.code === 'resource_exhausted' &&
        error.details.reason === 'TOKENIZER_BUSY' &&
        Number(error.details.retryAfterMs) >= 250,
    )
    assert.deepEqual(await tokenise('ab'), [2])
    controller.abort(new ClusterError('cancelled', 'left'))
    await left
    assert.equal((await running).length, 20_000 * 5)
  })

  it('cuts off a pattern that does not end, and goes on with others', async () => {
    const tokenise = createTokenise(tokenizerWith('(?:a+)+b'), systemClock, 300)
    await assert.rejects(
      tokenise('a'.repeat(60)),
      (error: unknown) =>
        error instanceof ClusterError && error.code === 'internal' && error.details.reason === 'TOKENIZER_TIMEOUT',
    )
    assert.deepEqual(await tokenise('ab'), [2])
  })
})
