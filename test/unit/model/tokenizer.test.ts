import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createDetokenizer } from '../../../lib/model/detokenizer.js'
import { createTokenizer, readTokenizerFiles, tokenizerOf, type ModelTokenizer } from '../../../lib/model/tokenizer.js'
import { demoModel } from '../../helpers/paths.js'

function load(): ModelTokenizer {
  return createTokenizer(demoModel, 4096) ?? assert.fail('the demonstration model has a tokenizer')
}

describe('the tokenizer of the demonstration model', () => {
  const tokenizer = load()

  it('gives any text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) =>
        assert.equal(tokenizer.decode(tokenizer.encode(text)), text),
      ),
    )
  })

  it('never reads a control token out of user text, but does in a template', () => {
    assert.ok(!tokenizer.encode('a<|endoftext|>b').includes(0))
    assert.equal(tokenizer.decode(tokenizer.encode('a<|endoftext|>b')), 'a<|endoftext|>b')
    assert.ok(tokenizer.encode('a<|endoftext|>b', { parseSpecial: true }).includes(0))
  })

  it('refuses a vocabulary larger than the embedding', () => {
    assert.throws(() => createTokenizer(demoModel, 0), /token id 4095: the model's vocabulary has 0/)
  })

  it('refuses patterns and special tokens that are none, naming the file', () => {
    const files = readTokenizerFiles(demoModel) ?? assert.fail('the demonstration model has a tokenizer')
    const pattern = { Regex: '([' }
    const bad = [
      [{ pre_tokenizer: { type: 'Split', pattern, behavior: 'Isolated' } }, /pattern "\(\["/],
      [{ normalizer: { type: 'Replace', pattern, content: '' } }, /pattern "\(\["/],
      [{ decoder: { type: 'Replace', pattern, content: '' } }, /pattern "\(\["/],
      [
        {
          post_processor: {
            type: 'TemplateProcessing',
            single: [{ SpecialToken: { id: '<s>' } }],
            special_tokens: { '<t>': { ids: [1] } },
          },
        },
        /post_processor: want "<s>" in special_tokens, got \["<t>"\]/,
      ],
    ] as const
    for (const [changes, message] of bad) {
      assert.throws(
        () => tokenizerOf({ ...files, json: { ...files.json, ...changes } }, 4096),
        (error: Error) => message.test(error.message) && error.message.startsWith(`${files.path}: `),
      )
    }
  })
})

describe('createDetokenizer', () => {
  const tokenizer = load()
  const ids = fc.array(fc.nat(4095), { maxLength: 80 })

  const streamed = (tokens: readonly number[]): string => {
    const detokenizer = createDetokenizer(tokenizer)
    return tokens.map((token) => detokenizer.push(token)).join('') + detokenizer.flush()
  }

  it('gives the text of decoding everything at once, for any ids (DT1)', () => {
    fc.assert(
      fc.property(ids, (tokens) => assert.equal(streamed(tokens), tokenizer.decode(tokens))),
      { numRuns: 500 },
    )
  })

  it('never emits half a character', () => {
    const tokens = tokenizer.encode('λ → 日本語 🙂')
    const detokenizer = createDetokenizer(tokenizer)
    const pieces = tokens.map((token) => detokenizer.push(token))
    assert.ok(pieces.every((piece) => !piece.includes('\ufffd')))
    assert.equal(pieces.join(''), 'λ → 日本語 🙂')
  })
})
