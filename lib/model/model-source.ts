// Where a model comes from: a folder as Hugging Face lays it out, or a GGUF file. Both give the same things, and from
// here on nobody cares which it was.

import { closeSync, existsSync, readSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ClusterError } from '../errors.js'
import { chatTemplateSource } from './chat-template.js'
import type { KeyNames } from './config-fields.js'
import { parseJson, readJson } from './json-file.js'
import { listFolder, openFile, readText } from './open-file.js'
import { openShards } from './shard-index.js'
import type { ModelSpec } from './spec.js'
import type { TensorFile } from './stored-tensor.js'
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer.js'

type Json = Readonly<Record<string, unknown>>

/** What a model is said to be; its weights are not looked at. */
export interface ModelConfig {
  readonly path: string // the folder, or the GGUF file
  readonly config: Json // as config.json says it, under the keys that the families read
  readonly configPath: string // for errors
  readonly keyNames?: KeyNames // of the configuration, where its file has others
  readonly configText: string // what the fingerprint covers
  readonly generationConfig: Json // as generation_config.json says it; empty without one
  readonly hasWeights: boolean
  /** Where the files hold what the family's spec asks for, where that is not under the published names. */
  readonly locate?: (spec: ModelSpec) => ModelSpec
}

export interface TextFiles {
  readonly tokenizer: TokenizerFiles | undefined
  readonly chatTemplate: string | undefined // its source
}

/** An open model. Whoever opened it closes its files. */
export interface ModelSource extends ModelConfig {
  /** What texts are made with; large vocabularies take seconds. */
  readonly readTexts: () => TextFiles
  readonly files: readonly TensorFile[]
}

/** Opens a folder or a GGUF file; no weights are read yet. Throws naming the file, tensor or key that is wrong. */
export async function openModelSource(path: string): Promise<ModelSource> {
  const gguf = await ggufOf(path)
  return gguf === undefined ? openFolder(path) : openGguf(gguf)
}

/** Opens a folder of safetensors. */
export function openFolder(path: string): ModelSource {
  const config = readFolder(path)
  const readTexts = () => ({ tokenizer: readTokenizerFiles(path), chatTemplate: chatTemplateSource(path) })
  return { ...config, readTexts, files: openShards(path) }
}

/** What a folder, a `config.json` itself or a GGUF file says, without its weights. */
export async function readModelConfig(path: string): Promise<ModelConfig> {
  if (basename(path) === 'config.json') return { ...readFolder(dirname(path)), hasWeights: false }
  const gguf = await ggufOf(path)
  if (gguf === undefined) return readFolder(path)
  const source = await openGguf(gguf)
  source.files.forEach((file) => file.close())
  return source
}

/** What reads GGUF files is loaded where one is read: its library takes a tenth of a process's start. */
const openGguf = async (path: string): Promise<ModelSource> => (await import('./gguf/open.js')).openGguf(path)
const firstPartOf = async (names: readonly string[]): Promise<string | undefined> =>
  (await import('./gguf/parts.js')).firstPartOf(names)

/** The GGUF file that a path names: itself under whatever name, or the only one of a folder without safetensors, or its first part. */
async function ggufOf(path: string): Promise<string | undefined> {
  if (path.endsWith('.gguf')) return path
  if (!isFolder(path)) return isGguf(path) ? path : undefined
  const names = listFolder(path)
  if (names.some(isWeightFile)) return undefined
  const [first, ...more] = names.filter((name) => name.endsWith('.gguf')).sort()
  if (first === undefined) return undefined
  const only = more.length === 0 ? first : await firstPartOf([first, ...more])
  if (only !== undefined) return join(path, only)
  throw new ClusterError(
    'invalid_argument',
    `${path}: want one GGUF file, got ${more.length + 1}: ${[first, ...more].join(', ')}; name the one to serve`,
  )
}

/** Whether a file begins as GGUF does: some tools keep them under other names. */
function isGguf(path: string): boolean {
  if (!existsSync(path) || !statSync(path).isFile()) return false
  const fd = openFile(path)
  try {
    const magic = Buffer.alloc(4)
    readSync(fd, magic)
    return magic.toString('latin1') === 'GGUF'
  } finally {
    closeSync(fd)
  }
}

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory()
const isWeightFile = (name: string): boolean => /\.safetensors(\.index\.json)?$/.test(name)

function readFolder(path: string): ModelConfig {
  const names = listFolder(path, 'a folder, a config.json or a GGUF file')
  const configPath = join(path, 'config.json')
  const generation = join(path, 'generation_config.json')
  const configText = readText(configPath)
  return {
    path,
    config: parseJson(configText, configPath),
    configPath,
    configText,
    generationConfig: existsSync(generation) ? readJson(generation) : {},
    hasWeights: names.some(isWeightFile),
  }
}
