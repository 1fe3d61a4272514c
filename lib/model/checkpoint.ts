// A checkpoint folder as Hugging Face lays it out: config.json, safetensors (one file, or shards with an index),
// tokenizer, chat template, generation defaults.
//
// Invariants
//   CK1  A tensor is handed out only with the shape that the configuration asks for.
//   CK2  What is wrong is said at opening, with the name of the file, tensor or key.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ClusterError } from '../errors.js'
import { attentionLinears, attentionVectors } from './attention-parts.js'
import { createChatTemplate, type ChatTemplate } from './chat-template.js'
import { specOf } from './families/registry.js'
import { readGenerationDefaults, type GenerationDefaults } from './generation-defaults.js'
import { readJson } from './json-file.js'
import { openSafetensors, type SafetensorsFile, type TensorInfo } from './safetensors.js'
import type { LinearRef, ModelSpec, TensorRef } from './spec.js'
import { createTokenizer, type ModelTokenizer } from './tokenizer.js'

export type { GenerationDefaults } from './generation-defaults.js'

export interface Checkpoint {
  readonly path: string
  readonly spec: ModelSpec
  readonly defaults: GenerationDefaults
  readonly tokenizer: ModelTokenizer | undefined
  readonly chatTemplate: ChatTemplate | undefined
  readonly fingerprint: string // 16 hex digits
  readonly createdUnixMs: number
  readonly missing: readonly string[]
  readonly unexpected: readonly string[]
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** A whole tensor as float32. Throws `invalid_argument` naming the tensor, its shape and the wanted one. */
  tensor(ref: TensorRef): Float32Array
  /** Rows first … first + count - 1 of a matrix. */
  rows(ref: TensorRef, first: number, count: number): Float32Array
  close(): void
}

/** What a folder's configuration says, whether or not weights lie beside it. */
export interface DeclaredModel {
  readonly path: string // of the folder
  readonly spec: ModelSpec
  readonly defaults: GenerationDefaults
  readonly hasWeights: boolean
}

/** Reads the configuration of a checkpoint folder, or a `config.json` itself; weights are not looked at. */
export function readDeclaredModel(path: string): DeclaredModel {
  const isConfig = basename(path) === 'config.json'
  const declared = readFolder(isConfig ? dirname(path) : path)
  return isConfig ? { ...declared, hasWeights: false } : declared
}

/** Opens and checks a checkpoint folder; no weights are read yet. */
export function openCheckpoint(path: string): Checkpoint {
  const { spec, defaults } = readFolder(path)
  const files = openFiles(path)
  try {
    return assemble(path, spec, defaults, files)
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
}

function readFolder(path: string): DeclaredModel {
  if (path.endsWith('.gguf'))
    throw new ClusterError(
      'unimplemented',
      `${path}: GGUF files are not served by this version; use a safetensors folder`,
    )
  if (!existsSync(path) || !statSync(path).isDirectory())
    throw new ClusterError('not_found', `model: ${path} is no folder`)
  const config = readJson(join(path, 'config.json'))
  const declared = specOf(config, join(path, 'config.json'))
  const defaults = readGenerationDefaults(join(path, 'generation_config.json'))
  const spec = defaults.eosTokenIds.length > 0 ? { ...declared, eosTokenIds: defaults.eosTokenIds } : declared
  const hasWeights = readdirSync(path).some((name) => /\.safetensors(\.index\.json)?$/.test(name))
  return { path, spec, defaults, hasWeights }
}

function assemble(
  path: string,
  spec: ModelSpec,
  defaults: GenerationDefaults,
  files: readonly SafetensorsFile[],
): Checkpoint {
  const owners = new Map(
    files.flatMap((file) => [...file.tensors.keys()].map((name): [string, SafetensorsFile] => [name, file])),
  )
  const wanted = wantedTensors(spec)
  const missing = [...wanted.keys()].filter((name) => !owners.has(name))
  if (missing.length > 0) {
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
    throw new ClusterError('invalid_argument', `${path}: missing tensor ${missing.slice(0, 3).join(', ')}${more}`)
  }
  const find = (ref: TensorRef): SafetensorsFile => {
    const file = owners.get(ref.name)
    const found = file?.tensors.get(ref.name)?.shape
    if (file === undefined || found === undefined)
      throw new ClusterError('invalid_argument', `${path}: missing tensor ${ref.name}`)
    if (found.length !== ref.shape.length || found.some((size, i) => size !== ref.shape[i])) {
      throw new ClusterError(
        'invalid_argument',
        `${file.path}: tensor ${ref.name}: want shape [${ref.shape.join(', ')}], got [${found.join(', ')}]`,
      )
    }
    return file
  }
  for (const ref of wanted.values()) find(ref)
  const tokenizer = createTokenizer(path, spec.vocabSize)
  return {
    path,
    spec,
    defaults,
    tokenizer,
    chatTemplate: createChatTemplate(path),
    fingerprint: fingerprintOf(path, files),
    createdUnixMs: Math.floor(statSync(join(path, 'config.json')).mtimeMs),
    missing,
    unexpected: [...owners.keys()].filter((name) => !wanted.has(name)),
    tensors: new Map(files.flatMap((file) => [...file.tensors])),
    tensor: (ref) => find(ref).readFloat32(ref.name),
    rows: (ref, first, count) => find(ref).readRowsFloat32(ref.name, first, count),
    close: () => files.forEach((file) => file.close()),
  }
}

/** The shards that the index names, or the one file. */
function openFiles(path: string): SafetensorsFile[] {
  const index = join(path, 'model.safetensors.index.json')
  const names = existsSync(index) ? indexedFiles(index) : ['model.safetensors']
  const files: SafetensorsFile[] = []
  try {
    for (const name of names) files.push(openSafetensors(join(path, name)))
    return files
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
}

function indexedFiles(index: string): string[] {
  const map = readJson(index).weight_map
  if (typeof map !== 'object' || map === null)
    throw new ClusterError('invalid_argument', `${index}: want an object weight_map`)
  const names = [...new Set(Object.values(map))]
  return names.map((name) => {
    if (typeof name !== 'string' || basename(name) !== name || name === '') {
      throw new ClusterError(
        'invalid_argument',
        `${index}: want plain file names in weight_map, got ${JSON.stringify(name)}`,
      )
    }
    return name
  })
}

/** Every tensor that the spec refers to, by name. */
export function wantedTensors(spec: ModelSpec): Map<string, TensorRef> {
  const refs = new Map<string, TensorRef>()
  const add = (ref: TensorRef | undefined): void => {
    if (ref !== undefined) refs.set(ref.name, ref)
  }
  const addLinear = ({ weight, bias }: LinearRef): void => {
    add(weight)
    add(bias)
  }
  for (const { attention, attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ffn } of spec.layers) {
    ;[attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ...attentionVectors(attention)].forEach(add)
    ;[ffn.gate?.weight, ffn.gate?.bias, ffn.gate?.correction, ffn.always?.sigmoidGate].forEach(add)
    attentionLinears(attention).forEach(addLinear)
    for (const { gate, up, down } of [...ffn.experts, ...(ffn.always ? [ffn.always.ffn] : [])])
      [gate, up, down].forEach(addLinear)
  }
  ;[spec.embedding, spec.finalNorm].forEach(add)
  addLinear(spec.lmHead)
  return refs
}

const WHOLE_BYTES = 64 * 1024 * 1024
const NUM_SAMPLES = 256
const SAMPLE_BYTES = 4096

/**
 * Identity of configuration and weights: the configuration's text, every header, and the data, whole up to 64 MB a
 * file, above that 256 evenly spaced samples of 4 KB.
 */
function fingerprintOf(path: string, files: readonly SafetensorsFile[]): string {
  const hash = createHash('sha256').update(readFileSync(join(path, 'config.json')))
  for (const file of files) {
    hash.update(file.header).update(String(file.sizeBytes))
    if (file.sizeBytes <= WHOLE_BYTES) hash.update(file.readBytes(0, file.sizeBytes))
    else {
      const stride = (file.sizeBytes - SAMPLE_BYTES) / (NUM_SAMPLES - 1)
      for (let i = 0; i < NUM_SAMPLES; i++) hash.update(file.readBytes(Math.floor(i * stride), SAMPLE_BYTES))
    }
  }
  return hash.digest('hex').slice(0, 16)
}
