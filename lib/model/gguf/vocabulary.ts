// The tokenizer of a GGUF file, in the words of tokenizer.json and tokenizer_config.json: byte-level BPE (`gpt2`) and
// SentencePiece's BPE with scores (`llama`).
//
// Invariants
//   GV1  A vocabulary that can spell no text (our own export of a folder without tokenizer) is none: ids only.
//   GV2  What would cut text in another way than the published tokenizer is refused by name.

import { ClusterError } from '../../errors.js'
import type { TokenizerFiles } from '../tokenizer.js'
import { TOKEN_TYPES } from './control-tokens.js'
import type { GgufFields } from './fields.js'
import { preTokenizerOf, WORD_RULES, wordRule } from './pre-tokenizers.js'
import { scoredMerges } from './scored-merges.js'

type Json = Readonly<Record<string, unknown>>

interface Vocabulary {
  readonly path: string
  readonly fields: GgufFields
  readonly tokens: readonly string[]
  readonly types: readonly number[] // one per token
}

const KEY = (name: string): string => `tokenizer.ggml.${name}`

/** The file's tokenizer, or undefined where it has none. Throws naming the key that is wrong. */
export function tokenizerFilesOf(path: string, fields: GgufFields): TokenizerFiles | undefined {
  const model = fields.text(KEY('model'), 'none')
  if (model === 'none' || model === 'no_vocab') return undefined
  if (model !== 'gpt2' && model !== 'llama')
    throw new ClusterError(
      'unimplemented',
      `${path}: ${KEY('model')}: want gpt2 or llama, got ${JSON.stringify(model)}`,
    )
  const vocabulary = readVocabulary(path, fields)
  if (model === 'gpt2' && !vocabulary.tokens.includes(BYTE_OF_SPACE)) return undefined
  const json = model === 'gpt2' ? byteLevel(vocabulary) : scored(vocabulary)
  return { path, json: { version: '1.0', truncation: null, padding: null, ...json }, config: configOf(vocabulary) }
}

const BYTE_OF_SPACE = 'Ġ'

function readVocabulary(path: string, fields: GgufFields): Vocabulary {
  const tokens = fields.texts(KEY('tokens'))
  const types = fields.has(KEY('token_type')) ? fields.numbers(KEY('token_type')) : tokens.map(() => TOKEN_TYPES.normal)
  if (types.length !== tokens.length) fields.refuse(KEY('token_type'), `one for each of the ${tokens.length} tokens`)
  for (const name of ['bos', 'eos', 'unknown']) {
    const key = KEY(`${name}_token_id`)
    if (fields.has(key) && fields.count(key) >= tokens.length)
      fields.refuse(key, `an id of the ${tokens.length} tokens`)
  }
  return { path, fields, tokens, types }
}

function byteLevel(vocabulary: Vocabulary): Json {
  const { fields, path } = vocabulary
  const name = fields.text(KEY('pre'), 'default')
  const rule = wordRule(name)
  if (rule === undefined)
    throw new ClusterError(
      'unimplemented',
      `${path}: ${KEY('pre')}: want one of ${WORD_RULES.join(', ')}, got ${JSON.stringify(name)}`,
    )
  const merges = fields.texts(KEY('merges')).map((merge): readonly string[] => {
    const between = merge.indexOf(' ', 1)
    if (between === -1) fields.refuse(KEY('merges'), `two texts with a space between, not ${JSON.stringify(merge)}`)
    return [merge.slice(0, between), merge.slice(between + 1)]
  })
  return {
    added_tokens: addedTokens(vocabulary),
    normalizer: rule.isNfc === true ? { type: 'NFC' } : null,
    pre_tokenizer: preTokenizerOf(rule),
    post_processor: addsBos(vocabulary, rule.addsBos === true),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { ...BPE, ignore_merges: rule.ignoresMerges === true, vocab: vocabOf(vocabulary), merges },
  }
}

const BPE = {
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
}

/** SentencePiece: spaces are ▁, one more of them begins a text unless the file says otherwise. */
function scored(vocabulary: Vocabulary): Json {
  const { fields, tokens } = vocabulary
  const scores = fields.numbers(KEY('scores'))
  if (scores.length !== tokens.length) fields.refuse(KEY('scores'), `one for each of the ${tokens.length} tokens`)
  const hasPrefix = fields.flag(KEY('add_space_prefix'), true)
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(hasPrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ]
  const unknown = fields.count(KEY('unknown_token_id'), 0)
  return {
    added_tokens: addedTokens(vocabulary),
    normalizer: hasPrefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, spaces] } : spaces,
    pre_tokenizer: null,
    post_processor: addsBos(vocabulary, true),
    decoder: { type: 'Sequence', decoders },
    model: {
      ...BPE,
      unk_token: tokens[unknown] ?? null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabOf(vocabulary),
      merges: scoredMerges(tokens, scores, (id) => isPiece(vocabulary, id)),
    },
  }
}

const isPiece = ({ types }: Vocabulary, id: number): boolean =>
  types[id] === TOKEN_TYPES.normal || types[id] === TOKEN_TYPES.userDefined

/** Ids of texts; unused places have none. */
function vocabOf({ tokens, types }: Vocabulary): Json {
  return Object.fromEntries(
    tokens.flatMap((text, id) => (types[id] === TOKEN_TYPES.unused ? [] : [[text, id] as const])),
  )
}

const ADDED: readonly (number | undefined)[] = [TOKEN_TYPES.control, TOKEN_TYPES.userDefined, TOKEN_TYPES.unknown]

/** Tokens that are found in a text as a whole; control tokens only where they may be. */
const addedTokens = ({ tokens, types }: Vocabulary): readonly Json[] =>
  tokens.flatMap((content, id) => {
    const special = types[id] !== TOKEN_TYPES.userDefined
    const added = { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }
    return ADDED.includes(types[id]) ? [added] : []
  })

/** The post-processor that begins a text with the file's first token, where it asks for one. */
function addsBos({ fields, tokens }: Vocabulary, isUsual: boolean): Json | null {
  const bos = fields.has(KEY('bos_token_id')) ? fields.count(KEY('bos_token_id')) : undefined
  const text = bos === undefined ? undefined : tokens[bos]
  if (text === undefined || !fields.flag(KEY('add_bos_token'), isUsual)) return null
  const first = { SpecialToken: { id: text, type_id: 0 } }
  const [one, other] = ['A', 'B'].map((id, type_id) => ({ Sequence: { id, type_id } }))
  return {
    type: 'TemplateProcessing',
    single: [first, one],
    pair: [first, one, { SpecialToken: { id: text, type_id: 1 } }, other],
    special_tokens: { [text]: { id: text, ids: [bos], tokens: [text] } },
  }
}

/** Texts of control tokens by their role, as templates ask for them. */
function configOf({ fields, tokens }: Vocabulary): Json {
  const roles = { bos_token: 'bos', eos_token: 'eos', unk_token: 'unknown', pad_token: 'padding' }
  return Object.fromEntries(
    Object.entries(roles).flatMap(([role, name]) => {
      const key = KEY(`${name}_token_id`)
      return fields.has(key) ? [[role, tokens[fields.count(key)] ?? null]] : []
    }),
  )
}
