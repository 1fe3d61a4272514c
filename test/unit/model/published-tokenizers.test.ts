// Published tokenizers against what the reference library made of the same files (test/fixtures/tokenizers/README.md).

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { createDetokenizer } from '../../../lib/model/detokenizer.js'
import { tokenizerOf, type ModelTokenizer, type TokenizerFiles } from '../../../lib/model/tokenizer.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { isPublished, PUBLISHED_SIZES, publishedJson, publishedTokenizer } from '../../helpers/published.js'

/** First and last ids that no ordinary text holds: special and added tokens, padding. */
const RESERVED: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  llama2: [[0, 2]],
  llama3_1: [[128_000, 128_255]],
  qwen3: [[151_643, 151_935]],
  gptoss: [[199_998, 201_087]],
  deepseek_v3: [
    [0, 2],
    [128_000, 129_279],
  ],
  gemma3: [
    [0, 237],
    [255_968, 262_207],
  ],
}

/** Ids of a text, those with its special tokens read where they differ, what they decode to where that differs. */
type Row = readonly [plain: readonly number[], parsed: readonly number[] | null, decoded: string | null]

interface Fixture {
  readonly texts: readonly string[] // of this tokenizer alone
  readonly rows: readonly Row[] // of the common texts, then of these
  readonly streams: readonly (readonly [ids: readonly number[], text: string])[]
}

const readFixture = (name: string): unknown =>
  JSON.parse(readFileSync(join(repositoryRoot, 'test/fixtures/tokenizers', `${name}.json`), 'utf8'))
const commonTexts = readFixture('texts') as readonly string[] // as the script wrote them

for (const [name, vocabSize] of Object.entries(PUBLISHED_SIZES)) {
  assert.ok(isPublished(name), name)
  describe(`the published tokenizer ${name}`, function () {
    this.timeout(60_000)
    const fixture = readFixture(name) as Fixture // as the script wrote it
    const texts = [...commonTexts, ...fixture.texts]
    let tokenizer: ModelTokenizer
    let controls: readonly string[] = []
    before(() => {
      const added = publishedJson(name).added_tokens as { content: string; special: boolean }[] // as published
      tokenizer = publishedTokenizer(name)
      controls = added.filter(({ special }) => special).map(({ content }) => content)
    })

    it('gives the reference’s ids for every text, and its text for these ids', () => {
      assert.equal(texts.length, fixture.rows.length)
      for (const [i, [plain, parsed, decoded]] of fixture.rows.entries()) {
        const text = texts[i] ?? ''
        assert.deepEqual(tokenizer.encode(text), plain, JSON.stringify(text))
        const withSpecials = tokenizer.encode(text, { parseSpecial: true })
        assert.deepEqual(withSpecials, parsed ?? plain.slice(plain.length - withSpecials.length), JSON.stringify(text))
        assert.equal(tokenizer.decode(plain), decoded ?? text)
      }
    })

    it('knows which ids ordinary text may hold', () => {
      const isReserved = (token: number): boolean =>
        RESERVED[name]?.some(([first, last]) => token >= first && token <= last) === true
      const ids = Array.from({ length: vocabSize }, (_, id) => id)
      assert.deepEqual(
        ids.filter((id) => tokenizer.isPlain(id) === isReserved(id)),
        [],
      )
    })

    it('puts nothing around a bare text', () => {
      const [empty, text] = ['', 'two words'].map((each) => tokenizer.encode(each))
      assert.deepEqual(tokenizer.encode('two words', { isBare: true }), text?.slice(empty?.length))
      assert.deepEqual(tokenizer.encode('', { isBare: true }), [])
    })

    it('reads half a surrogate pair as U+FFFD', () =>
      assert.deepEqual(tokenizer.encode('x\ud83d😀\udc00'), tokenizer.encode('x\ufffd😀\ufffd')))

    it('gives the reference’s text for random ids, and the same token by token (DT1)', () => {
      for (const [ids, text] of fixture.streams) {
        assert.equal(tokenizer.decode(ids), text)
        assert.equal(streamed(tokenizer, ids), text)
      }
    })

    it('decodes any ids token by token as at once (DT1)', () => {
      const id = fc.oneof(fc.nat(vocabSize - 1), fc.nat(300)) // control tokens and bytes come early in many
      fc.assert(
        fc.property(fc.array(id, { maxLength: 60 }), (ids) =>
          assert.equal(streamed(tokenizer, ids), tokenizer.decode(ids)),
        ),
        { numRuns: 300 },
      )
    })

    it('reads no special token out of text, nor out of guarded text in a template (TK1)', () => {
      const control = fc.constantFrom(...controls.slice(0, 40))
      const part = fc.oneof(
        fc.string(),
        control,
        fc.tuple(control, fc.nat(9)).map(([text, cut]) => text.slice(0, cut)),
      )
      fc.assert(
        fc.property(fc.array(part, { maxLength: 6 }), control, (parts, end) => {
          const text = parts.join('')
          const own = tokenizer.encode(text).slice(tokenizer.encode('').length)
          assert.ok(!own.some((token) => tokenizer.isSpecial(token)), own.join(' '))
          const [endId] = tokenizer.encode(end, { parseSpecial: true })
          const mark = '\ue000'
          const written = parts.map((content) => tokenizer.guard(content, mark)).join('') + end
          const ids = tokenizer.encode(written, { parseSpecial: true, mark })
          assert.deepEqual(
            ids.filter((token) => tokenizer.isSpecial(token)),
            [endId],
          )
          assert.equal(tokenizer.decode(ids), tokenizer.decode(tokenizer.encode(text)))
        }),
      )
    })

    it('takes 100 KB without spaces in well under quadratic time', () => {
      const once = (text: string): number => {
        const start = performance.now()
        tokenizer.encode(text)
        return performance.now() - start
      }
      const took = (length: number): number => {
        const text = '日本語'.repeat(length / 3)
        return Math.min(once(text), once(text), once(text)) // others may have had the core
      }
      took(3_000)
      const [short, long] = [took(9_000), took(90_000)]
      assert.ok(long < 40 * Math.max(short, 5), `${short} ms for 9000 characters, ${long} ms for ten times as many`)
    })
  })
}

const streamed = (tokenizer: ModelTokenizer, ids: readonly number[]): string => {
  const detokenizer = createDetokenizer(tokenizer)
  return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush()
}

describe('other parts that a published tokenizer may have', () => {
  const { texts, variants } = readFixture('variants') as {
    readonly texts: readonly string[]
    readonly variants: Readonly<
      Record<string, { readonly json: TokenizerFiles['json']; readonly rows: readonly Pair[] }>
    >
  } // as the script wrote it
  type Pair = readonly [ids: readonly number[], text: string]

  for (const [name, { json, rows }] of Object.entries(variants)) {
    it(`${name}: ids and texts are the reference’s`, () => {
      const tokenizer = tokenizerOf({ path: name, json, config: {} }, 512)
      for (const [i, [ids, text]] of rows.entries()) {
        assert.deepEqual(tokenizer.encode(texts[i] ?? '', { parseSpecial: true }), ids, JSON.stringify(texts[i]))
        assert.equal(tokenizer.decode(ids), text)
        assert.equal(streamed(tokenizer, ids), text)
      }
    })
  }
})

describe('a tokenizer that cannot be served', () => {
  const files: TokenizerFiles = {
    path: 'm/tokenizer.json',
    config: {},
    json: {
      added_tokens: [{ id: 3, content: '<end>', special: true }],
      model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] },
      decoder: { type: 'Fuse' },
    },
  }
  const model = (change: object): TokenizerFiles['json'] => ({
    ...files.json,
    model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'], ...change },
  })
  const cases: readonly [string, TokenizerFiles['json'], RegExp, number?][] = [
    ['an added token outside the embedding', files.json, /m\/tokenizer.json: token id 3: .* has 3/, 3],
    ['a piece outside the embedding', model({ vocab: { a: 0, b: 1, ab: 9 } }), /token id 9: .* has 4/],
    ['another type of model', model({ type: 'Unigram' }), /model.type: want BPE, got "Unigram"/],
    ['no model', { decoder: null }, /m\/tokenizer.json: model/],
    ['an id that is none', model({ vocab: { a: 0, b: -1 } }), /model.vocab: "b": want an id from 0/],
    ['a merge of tokens that are none', model({ merges: ['a c'] }), /model.merges.0: "a" and "c": want tokens/],
    ['a merge of three', model({ merges: [['a', 'b', 'c']] }), /model.merges.0: want two tokens/],
    ['an unknown step', { ...files.json, normalizer: { type: 'Nmt' } }, /normalizer: cannot follow {"type":"Nmt"}/],
    [
      'an unknown step in a sequence',
      { ...files.json, pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'UnicodeScripts' }] } },
      /pre_tokenizer: cannot follow {"type":"UnicodeScripts"}/,
    ],
    ['a missing unknown token', model({ unk_token: '<unk>' }), /model.unk_token: <unk> is not in model.vocab/],
  ]
  for (const [title, json, wanted, vocabSize = 4] of cases) {
    it(`names ${title}`, () => assert.throws(() => tokenizerOf({ ...files, json }, vocabSize), wanted))
  }

  it('is not one whose further token is of another modality', () => {
    const config = { image_token: '<end>' }
    const tokenizer = tokenizerOf({ ...files, config }, 3)
    assert.equal(tokenizer.decode(tokenizer.encode('ab', { parseSpecial: true })), 'ab')
  })
})
