// The vocabulary of a GGUF file. llama.cpp loads no model without one: where a folder has none, or none in a form that
// it shares with us (byte-level BPE), each id gets an invented text, and the file serves token ids only.

import { join } from 'node:path'
import * as z from 'zod'
import { chatTemplateSource } from '../chat-template.js'
import type { Checkpoint } from '../checkpoint.js'
import type { GgufMetadata, GgufValue } from './writer.js'
import { readJson } from '../json-file.js'
import { TOKEN_TYPES } from './control-tokens.js'
import { nameOfPattern } from './pre-tokenizers.js'

const bpeSchema = z.object({
  model: z.object({
    type: z.literal('BPE').optional(),
    vocab: z.record(z.string(), z.number().int().nonnegative()),
    merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  }),
  added_tokens: z
    .array(z.object({ id: z.number().int().nonnegative(), content: z.string(), special: z.boolean().optional() }))
    .default([]),
  pre_tokenizer: z.unknown(),
})
type Bpe = z.infer<typeof bpeSchema>

export interface GgufVocabulary {
  readonly metadata: GgufMetadata
  readonly isInvented: boolean // the file serves token ids only
}

interface Vocabulary {
  readonly tokens: readonly string[] // [vocabSize], all different
  readonly types: readonly number[] // [vocabSize]
  readonly merges: readonly string[]
  readonly preTokenizer: string
}

/** Tokens, merges, control ids and chat template as `tokenizer.*` metadata. */
export function vocabularyOf(checkpoint: Checkpoint): GgufVocabulary {
  const bpe = readBpe(checkpoint)
  const { vocabSize } = checkpoint.spec
  const vocabulary = bpe === undefined ? invented(vocabSize) : published(bpe, vocabSize)
  const metadata: GgufMetadata = [
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text(vocabulary.preTokenizer)],
    ['tokenizer.ggml.tokens', { type: 'strings', value: vocabulary.tokens }],
    ['tokenizer.ggml.token_type', { type: 'int32s', value: vocabulary.types }],
    ['tokenizer.ggml.merges', { type: 'strings', value: vocabulary.merges }],
    ...controlIds(checkpoint),
  ]
  const template = bpe && chatTemplateSource(checkpoint.path)
  return {
    metadata: template === undefined ? metadata : [...metadata, ['tokenizer.chat_template', text(template)]],
    isInvented: bpe === undefined,
  }
}

const text = (value: string): GgufValue => ({ type: 'string', value })
const id = (value: number): GgufValue => ({ type: 'uint32', value })

/** The published tokenizer where it is byte-level BPE. */
function readBpe({ path, tokenizer }: Checkpoint): Bpe | undefined {
  if (tokenizer?.isByteLevel !== true) return undefined
  return bpeSchema.safeParse(readJson(join(path, 'tokenizer.json'))).data
}

function published({ model, added_tokens: added, pre_tokenizer: pre }: Bpe, vocabSize: number): Vocabulary {
  const tokens = Array.from({ length: vocabSize }, (_, token) => `[PAD${token}]`)
  const types: number[] = tokens.map(() => TOKEN_TYPES.unused)
  for (const [piece, token] of Object.entries(model.vocab)) {
    if (token >= vocabSize) continue
    tokens[token] = piece
    types[token] = TOKEN_TYPES.normal
  }
  for (const { id: token, content, special } of added) {
    tokens[token] = content
    types[token] = special === true ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined
  }
  const merges = model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')))
  return { tokens, types, merges, preTokenizer: preTokenizerName(pre) }
}

function invented(vocabSize: number): Vocabulary {
  const tokens = Array.from({ length: vocabSize }, (_, token) => `<${token}>`)
  return { tokens, types: tokens.map(() => TOKEN_TYPES.normal), merges: [], preTokenizer: 'default' }
}

/** llama.cpp knows splitting rules by name; ids are right with any, texts only with the right one. */
function preTokenizerName(pre: unknown): string {
  const patterns = [...JSON.stringify(pre ?? null).matchAll(/"Regex":("(?:[^"\\]|\\.)*")/g)]
  for (const [, pattern = '""'] of patterns) {
    const name = nameOfPattern(String(JSON.parse(pattern)))
    if (name !== undefined) return name
  }
  return patterns.length === 0 ? 'gpt-2' : 'default' // byte-level without a rule of its own splits as GPT-2 does
}

function controlIds({ spec, tokenizer }: Checkpoint): GgufMetadata {
  const [end, turnEnd] = spec.eosTokenIds
  const bos = spec.bosTokenId
  const addsBos = bos !== undefined && tokenizer?.encode('a')[0] === bos
  return [
    ...(bos === undefined ? [] : [['tokenizer.ggml.bos_token_id', id(bos)] as const]),
    ...(end === undefined ? [] : [['tokenizer.ggml.eos_token_id', id(end)] as const]),
    ...(turnEnd === undefined ? [] : [['tokenizer.ggml.eot_token_id', id(turnEnd)] as const]),
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: addsBos }],
  ]
}
