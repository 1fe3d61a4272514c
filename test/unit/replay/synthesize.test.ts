// Prompts made from lengths and block names.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createVocabulary, synthesizeText, synthesizeTokens, type BlockPrompt } from '../../../replay/src/synthesize.js'
import { createTokenizer } from '../../../lib/model/tokenizer.js'
import { demoModel } from '../../helpers/paths.js'

const vocabulary = createVocabulary({
  size: 500,
  reserved: [
    { first: 0, last: 2 },
    { first: 7, last: 7 },
    { first: 490, last: 499 },
  ],
})
const options = { vocabulary, seed: 1n, requestId: 'a' }
const blockPrompt = (numTokens: number, blocks: readonly string[], blockTokens = 16): BlockPrompt => ({
  kind: 'blocks',
  numTokens,
  blockTokens,
  blocks,
})

describe('synthesizing prompts', () => {
  it('gives exact lengths and only ids that may be drawn', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 }), fc.array(fc.string(), { maxLength: 12 }), (numTokens, blocks) => {
        const tokens = synthesizeTokens(blockPrompt(numTokens, blocks), options)
        assert.equal(tokens.length, numTokens)
        assert.ok(tokens.every((id) => vocabulary.includes(id)))
      }),
    )
  })

  it('shares a prefix where block names are equal, and only there', () => {
    const a = synthesizeTokens(blockPrompt(60, ['x', 'y', 'z']), options)
    const b = synthesizeTokens(blockPrompt(45, ['x', 'y', 'w']), { ...options, requestId: 'b' })
    assert.deepEqual(a.slice(0, 32), b.slice(0, 32))
    assert.notDeepEqual(a.slice(32, 45), b.slice(32, 45))
  })

  it('gives a name the same tokens wherever it stands, cut where the prompt ends', () => {
    const first = synthesizeTokens(blockPrompt(16, ['x']), options)
    const second = synthesizeTokens(blockPrompt(26, ['w', 'x']), options)
    assert.deepEqual(second.slice(16), first.slice(0, 10))
  })

  it('keeps unnamed tokens to their request', () => {
    const of = (requestId: string): number[] => synthesizeTokens(blockPrompt(64, []), { ...options, requestId })
    assert.deepEqual(of('a'), of('a'))
    assert.notDeepEqual(of('a').slice(0, 16), of('b').slice(0, 16))
  })

  it('draws all over the vocabulary, another seed something else', () => {
    const tokens = synthesizeTokens(blockPrompt(20_000, []), options)
    assert.equal(new Set(tokens).size, vocabulary.length)
    assert.notDeepEqual(tokens, synthesizeTokens(blockPrompt(20_000, []), { ...options, seed: 2n }))
  })

  it('refuses a vocabulary of nothing but reserved ids', () => {
    const reserved = [{ first: 0, last: 9 }]
    assert.throws(() => createVocabulary({ size: 3, reserved }), /want an id below 3 that is not reserved/)
  })

  describe('as text', () => {
    it('has exactly the wanted tokens in the demo model’s tokenizer, and shared beginnings', async () => {
      const model = createTokenizer(demoModel, 4096) ?? assert.fail('the demonstration model has a tokenizer')
      const tokenizer = {
        tokenize: (text: string) => Promise.resolve(model.encode(text)),
        detokenize: (ids: readonly number[]) => Promise.resolve(model.decode(ids)),
      }
      const demo = { vocabulary: createVocabulary({ size: 4096, reserved: [{ first: 0, last: 299 }] }), seed: 5n }
      const texts: string[] = []
      for (const [i, numTokens] of [1, 2, 17, 100, 333, 700].entries()) {
        const found = await synthesizeText(blockPrompt(numTokens, ['s', 't', 'u']), tokenizer, {
          ...demo,
          requestId: `r${i}`,
        })
        assert.deepEqual([found.isExact, found.numTokens], [true, numTokens])
        assert.equal((await tokenizer.tokenize(found.text)).length, numTokens)
        texts.push(found.text)
      }
      const [, , , , a = '', b = ''] = texts
      assert.equal(a.slice(0, 100), b.slice(0, 100))
    })
  })

  it('says when it cannot be exact', async () => {
    const pairs = {
      tokenize: (text: string) => Promise.resolve([...text, ...text].map(() => 1)),
      detokenize: (ids: readonly number[]) => Promise.resolve('x'.repeat(ids.length)),
    }
    const found = await synthesizeText(blockPrompt(7, []), pairs, options)
    assert.equal(found.isExact, false)
    assert.ok([6, 8].includes(found.numTokens))
  })
})
