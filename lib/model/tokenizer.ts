// Text to ids and back, from the published tokenizer.json (through @huggingface/tokenizers).
//
// Invariants
//   TK1  User text never becomes a control token: special tokens are read only where the caller asks (templates).
//   TK2  `decode` equals the incremental detokenizer's concatenation, for any ids.

import { Tokenizer } from '@huggingface/tokenizers'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../errors.js'
import { byteLevelBytes } from './byte-level.js'
import { readJson } from './json-file.js'

export interface ModelTokenizer {
  encode(text: string, options?: { readonly parseSpecial?: boolean }): number[]
  /** Text of ids; special tokens have none. */
  decode(tokens: readonly number[]): string
  /** The token's own text, '' for bytes that are no whole character; special tokens by name. */
  tokenText(token: number): string
  tokenBytes(token: number): Uint8Array
  isSpecial(token: number): boolean
  /** Texts that a template's control tokens have. */
  readonly specialTexts: readonly string[]
  /** Whether decoding is a concatenation of the tokens' bytes (byte-level BPE). */
  readonly isByteLevel: boolean
}

/** What is used of the library; its own declarations do not resolve under Node's module resolution. */
interface PublishedTokenizer {
  id_to_token(id: number): string | undefined
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] }
  decode(ids: readonly number[], options?: { readonly skip_special_tokens: boolean }): string
}

type TokenizerConstructor = new (tokenizer: object, config: object) => PublishedTokenizer

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
}

/** The folder's tokenizer, or undefined where it has none. */
export function createTokenizer(folder: string, vocabSize: number): ModelTokenizer | undefined {
  const files = readTokenizerFiles(folder)
  return files && tokenizerOf(files, vocabSize)
}

/** A tokenizer as published, wherever it was read. */
export interface TokenizerFiles {
  readonly path: string // for errors
  readonly json: Readonly<Record<string, unknown>> // as tokenizer.json says it
  readonly config: Readonly<Record<string, unknown>> // as tokenizer_config.json says it; empty without one
}

/** The folder's tokenizer files, or undefined where it has none. */
export function readTokenizerFiles(folder: string): TokenizerFiles | undefined {
  const path = join(folder, 'tokenizer.json')
  if (!existsSync(path)) return undefined
  const configPath = join(folder, 'tokenizer_config.json')
  return { path, json: readJson(path), config: existsSync(configPath) ? readJson(configPath) : {} }
}

/** Throws `invalid_argument` naming what is wrong in the files. */
export function tokenizerOf({ path, json, config }: TokenizerFiles, vocabSize: number): ModelTokenizer {
  const added = addedTokens(json, path)
  const specials = new Set(added.filter(({ special }) => special).map(({ id }) => id))
  const highest = added.reduce((most, { id }) => Math.max(most, id), 0)
  if (highest >= vocabSize) {
    throw new ClusterError('invalid_argument', `${path}: token id ${highest}: the model's vocabulary has ${vocabSize}`)
  }
  const full = load(json, config, path)
  // Without the special tokens among the added ones, their text is ordinary text.
  const plain = load({ ...json, added_tokens: added.filter(({ special }) => !special) }, config, path)
  const isByteLevel = JSON.stringify(json.decoder ?? null).includes('"ByteLevel"')
  const addedText = new Map(added.map(({ id, content }) => [id, content]))

  const tokenBytes = (token: number): Uint8Array => {
    const text = addedText.get(token)
    if (text !== undefined) return Buffer.from(text)
    const piece = full.id_to_token(token) ?? ''
    return isByteLevel ? byteLevelBytes(piece) : Buffer.from(full.decode([token]))
  }

  const decode = (tokens: readonly number[]): string => {
    if (!isByteLevel) return full.decode([...tokens], { skip_special_tokens: true })
    const bytes = Buffer.concat(tokens.filter((token) => !specials.has(token)).map(tokenBytes))
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  }

  return {
    encode: (text, options) => {
      const tokenizer = options?.parseSpecial === true ? full : plain
      return text === '' ? [] : [...tokenizer.encode(text, { add_special_tokens: options?.parseSpecial !== true }).ids]
    },
    decode,
    tokenText: (token) => new TextDecoder().decode(tokenBytes(token)).replaceAll('\ufffd', ''),
    tokenBytes,
    isSpecial: (token) => specials.has(token),
    specialTexts: added.filter(({ special }) => special).map(({ content }) => content),
    isByteLevel,
  }
}

function load(json: object, config: object, path: string): PublishedTokenizer {
  try {
    const Published = Tokenizer as TokenizerConstructor // see PublishedTokenizer
    return new Published(json, config)
  } catch (error) {
    throw new ClusterError(
      'invalid_argument',
      `${path}: ${error instanceof Error ? error.message : 'cannot be read'}`,
      { cause: error },
    )
  }
}

function addedTokens(json: Readonly<Record<string, unknown>>, path: string): AddedToken[] {
  const list = json.added_tokens ?? []
  if (!Array.isArray(list)) throw new ClusterError('invalid_argument', `${path}: added_tokens: want a list`)
  return (list as unknown[]).map((item): AddedToken => {
    // Any object may be read by these keys; each is checked.
    const { id, content, special } = (item ?? {}) as Record<string, unknown>
    if (!Number.isSafeInteger(id) || typeof content !== 'string') {
      throw new ClusterError('invalid_argument', `${path}: added_tokens: want an id and content in each entry`)
    }
    return { ...(item as object), id: Number(id), content, special: special === true }
  })
}
