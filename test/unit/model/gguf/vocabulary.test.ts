// Tokenizers of GGUF metadata against the published files that such metadata is made of.

import assert from 'node:assert/strict'
import { ggufFields, type GgufFields } from '../../../../lib/model/gguf/fields.js'
import { tokenizerFilesOf } from '../../../../lib/model/gguf/vocabulary.js'
import { tokenizerOf, type TokenizerFiles } from '../../../../lib/model/tokenizer.js'
import { PUBLISHED_SIZES, publishedJson, publishedTokenizer, type PublishedName } from '../../../helpers/published.js'

interface Published {
  readonly model: { readonly vocab: Record<string, number>; readonly merges: readonly (string | string[])[] }
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: boolean }[]
  readonly [part: string]: unknown
}

/** A published tokenizer.json; its form is fixed. */
const published = (name: PublishedName): Published => publishedJson(name) as unknown as Published

const BYTE = /^<0x[0-9A-F]{2}>$/
const TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, byte: 6 }
const isUnknown = (content: string): boolean => content === '<unk>'
const joined = (merge: string | readonly string[]): string => (typeof merge === 'string' ? merge : merge.join(' '))

/** As Llama's are. */
const scoreOf = (text: string, id: number, type: number | undefined): number =>
  type === TYPES.normal ? -id - (/^▁▁+$/.test(text) ? 1e6 : 0) : 0

/** What llama.cpp's converter writes of a published tokenizer. */
function metadataOf(json: Published, keys: Readonly<Record<string, string | number | boolean>>): GgufFields {
  const { vocab, merges } = json.model
  const pieces = Object.entries(vocab)
  const ids = [...pieces.map(([, id]) => id), ...json.added_tokens.map(({ id }) => id)]
  const size = 1 + ids.reduce((most, id) => Math.max(most, id), 0)
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`)
  const types = tokens.map(() => 5)
  for (const [text, id] of pieces) {
    tokens[id] = text
    types[id] = BYTE.test(text) ? TYPES.byte : TYPES.normal
  }
  for (const { id, content, special } of json.added_tokens) {
    tokens[id] = content
    types[id] = isUnknown(content) ? TYPES.unknown : special ? TYPES.control : TYPES.userDefined
  }
  const values: Record<string, unknown> = {
    tokens,
    token_type: types,
    merges: merges.map(joined),
    ...(keys.model === 'llama' && { scores: tokens.map((text, id) => scoreOf(text, id, types[id])) }),
    ...keys,
  }
  return ggufFields(
    new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value])),
    'model.gguf',
  )
}

const filesOf = (fields: GgufFields): TokenizerFiles =>
  tokenizerFilesOf('model.gguf', fields) ?? assert.fail('no tokenizer')

/** Without flags that say where a token came from in its text; line ends in patterns as escapes. */
const rule = (part: unknown): unknown =>
  JSON.parse(
    JSON.stringify(part ?? null, (key, value: unknown) => {
      if (key === 'trim_offsets') return undefined
      return key === 'Regex' ? String(value).replaceAll('\r', '\\r').replaceAll('\n', '\\n') : value
    }),
  )

const TEXTS = [
  'Hello, world!  Two spaces,\ttab and\n\nlines. ',
  ' leading and 1234567 numbers 3.14',
  'naïve café — Straße, 你好世界, こんにちは, 안녕하세요, مرحبا, हिन्दी, ไทย',
  'emoji 🙂👩‍👩‍👧 and <s> </s> <unk> as text',
  'def f(x):\n    return {"a": [1, 2, 3]}  # comment',
  '\u0000\u0007 \ufeff ▁under▁',
]

/** Hundreds of thousands: a plain loop. */
function assertMerges(found: Published['model']['merges'], wanted: Published['model']['merges']): void {
  assert.equal(found.length, wanted.length)
  const wrong = found.findIndex((merge, i) => joined(merge) !== joined(wanted[i] ?? ''))
  assert.equal(wrong, -1, `merge ${wrong}`)
}

describe('tokenizers of GGUF metadata', function () {
  this.timeout(60_000)

  for (const [name, pre] of [
    ['llama3_1', 'llama-bpe'],
    ['qwen3', 'qwen2'],
    ['gptoss', 'gpt-4o'],
    ['deepseek_v3', 'deepseek-v3'],
  ] as const) {
    it(`${pre} cuts and merges as ${name} does`, () => {
      const wanted = published(name)
      const { json } = filesOf(metadataOf(wanted, { model: 'gpt2', pre }))
      const {
        vocab,
        merges,
        ignore_merges: ignores = false,
      } = json.model as Published['model'] & { ignore_merges?: boolean }
      assertMerges(merges, wanted.model.merges)
      const added = wanted.added_tokens.filter(({ content }) => !(content in wanted.model.vocab))
      assert.equal(Object.keys(vocab).length, Object.keys(wanted.model.vocab).length + added.length)
      assert.deepEqual(
        Object.entries(wanted.model.vocab).filter(([content, id]) => vocab[content] !== id),
        [],
      )
      assert.deepEqual(
        wanted.added_tokens.filter(({ content, id }) => vocab[content] !== id),
        [],
      )
      assert.equal(ignores, (wanted.model as { ignore_merges?: boolean }).ignore_merges ?? false)
      assert.deepEqual(rule(json.pre_tokenizer), rule(wanted.pre_tokenizer))
      assert.equal(JSON.stringify(json.normalizer), JSON.stringify(name === 'qwen3' ? wanted.normalizer : null))
      const size = PUBLISHED_SIZES[name]
      const unmerged = { ...json, model: { ...(json.model as Published['model']), merges: [] } } // they were compared
      const [ours, theirs] = [tokenizerOf({ path: name, json: unmerged, config: {} }, size), publishedTokenizer(name)]
      const unlike = Array.from({ length: size }, (_, id) => id).filter((id) => ours.isPlain(id) !== theirs.isPlain(id))
      assert.deepEqual(unlike, [])
    })
  }

  it('pieces with scores are merged as their published merges say, and spell bytes that they lack', () => {
    const wanted = published('llama2')
    const files = filesOf(metadataOf(wanted, { model: 'llama', bos_token_id: 1, eos_token_id: 2, unknown_token_id: 0 }))
    const { merges } = files.json.model as Published['model']
    assertMerges(merges, wanted.model.merges)
    const [ours, theirs] = [tokenizerOf(files, 32_000), publishedTokenizer('llama2')]
    for (const text of TEXTS) {
      assert.deepEqual(ours.encode(text), theirs.encode(text), text)
      assert.equal(ours.decode(ours.encode(text)), theirs.decode(theirs.encode(text)))
    }
    assert.deepEqual(files.config, { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' })
    const ids = Array.from({ length: 32_000 }, (_, id) => id)
    assert.deepEqual(
      ids.filter((id) => ours?.isPlain(id) !== theirs?.isPlain(id)),
      [],
    )
  })

  it('text has no space before it where the file says so', () => {
    const wanted = published('llama2')
    const keys = { model: 'llama', bos_token_id: 1, add_bos_token: false, add_space_prefix: false }
    const tokenizer = tokenizerOf(filesOf(metadataOf(wanted, keys)), 32_000)
    const { vocab } = wanted.model
    assert.deepEqual(tokenizer.encode('the the'), [vocab.the, vocab['▁the']])
    assert.equal(tokenizer.decode(tokenizer.encode(' the the')), ' the the')
  })

  const small = (keys: Record<string, string | number | boolean>): GgufFields =>
    metadataOf({ model: { vocab: { a: 0, b: 1, Ġ: 2, ab: 3 }, merges: ['a b'] }, added_tokens: [] }, keys)

  it('names the key that is wrong', () => {
    const refused = (keys: Record<string, string | number | boolean>, error: RegExp): void =>
      void assert.throws(() => tokenizerFilesOf('model.gguf', small(keys)), error)
    refused({ model: 'bert' }, /model\.gguf: tokenizer\.ggml\.model: want gpt2 or llama, got "bert"/)
    refused({ model: 'gpt2', pre: 'viking' }, /tokenizer\.ggml\.pre: want one of .*qwen2.*, got "viking"/)
    refused({ model: 'gpt2', bos_token_id: 4 }, /tokenizer\.ggml\.bos_token_id: want an id of the 4 tokens, got 4/)
    refused({ model: 'llama', scores: 'none' }, /tokenizer\.ggml\.scores: want a list of numbers, got "none"/)
    refused({ model: 'gpt2', merges: 'ab' }, /tokenizer\.ggml\.merges: want a list of texts, got "ab"/)
    refused({ model: 'gpt2', tokens: 3 }, /tokenizer\.ggml\.tokens: want a list of texts, got 3/)
  })

  it('a file without words has no tokenizer', () => {
    assert.equal(tokenizerFilesOf('model.gguf', small({ model: 'none' })), undefined)
  })
})
