// A checkpoint: what its configuration says, and its tensors as the model uses them, whichever files hold them.
//
// Invariants
//   CK1  A tensor is handed out only with the shape that the configuration asks for.
//   CK2  What is wrong is said at opening, with the name of the file, tensor or key.

import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ClusterError } from '../errors.js'
import { attentionLinears, attentionVectors } from './attention-parts.js'
import { createChatTemplate, type ChatTemplate } from './chat-template.js'
import { fingerprintOf, weightKeyOf } from './content-hash.js'
import { requireConvertible } from './dtypes.js'
import { sizesLeftOut, specOf } from './families/registry.js'
import { generationDefaults, type GenerationDefaults } from './generation-defaults.js'
import {
  openFolder,
  openModelSource,
  readModelConfig,
  type ModelConfig,
  type ModelSource,
  type TextFiles,
} from './model-source.js'
import { fp8BlockSize } from './quantisation-config.js'
import { joinQuantised } from './quantised-tensors.js'
import type { LinearRef, ModelSpec, TensorRef } from './spec.js'
import type { StoredBlocks, StoredTensor, TensorFile } from './stored-tensor.js'
import { readTensor, readTensorBlocks, readTensorRows, storedShape } from './tensor-view.js'
import { tokenizerOf, type ModelTokenizer } from './tokenizer.js'

export type { GenerationDefaults } from './generation-defaults.js'

export interface Checkpoint {
  readonly path: string
  readonly spec: ModelSpec
  readonly defaults: GenerationDefaults
  readonly tokenizer: ModelTokenizer | undefined
  readonly chatTemplate: ChatTemplate | undefined
  readonly fingerprint: string // 16 hex digits
  readonly weightKey: string // what conversions of these very files are kept under
  readonly createdUnixMs: number
  readonly missing: readonly string[] // none, unless it was opened by `openIncomplete`
  readonly unexpected: readonly string[]
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Throws `invalid_argument` naming what is missing. */
  requireComplete(): void
  /** A whole tensor as float32. Throws `invalid_argument` naming the tensor, its shape and the wanted one. */
  tensor(ref: TensorRef): Float32Array
  /** Rows first … first + count - 1 of a matrix; they may be written to `into`, which is then what is returned. */
  rows(ref: TensorRef, first: number, count: number, into?: Float32Array): Float32Array
  /** Rows of a matrix, all unless told, as integers in blocks, where the files hold it so. */
  blocks(ref: TensorRef, first?: number, count?: number): StoredBlocks | undefined
  close(): void
}

/** What a model's configuration says, whether or not weights lie beside it. */
export interface DeclaredModel {
  readonly path: string // of the folder or GGUF file
  readonly spec: ModelSpec
  readonly defaults: GenerationDefaults
  readonly hasWeights: boolean
}

/** Reads the configuration of a folder, of a `config.json` itself or of a GGUF file; weights are not looked at. */
export async function readDeclaredModel(path: string): Promise<DeclaredModel> {
  return declare(await readModelConfig(path))
}

/** Opens and checks a model: a folder or a GGUF file; no weights are read yet. */
export const openModel = async (path: string): Promise<Checkpoint> => checkpointOf(await openModelSource(path))

/** The same of a model to be looked at: tensors may be missing, until `requireComplete`. */
export const openIncomplete = async (path: string): Promise<Checkpoint> =>
  checkpointOf(await openModelSource(path), { mayLack: true })

/** The same without tokenizer and template, for those who only compute: large vocabularies take seconds and megabytes. */
export const openWeights = async (path: string): Promise<Checkpoint> =>
  checkpointOf({ ...(await openModelSource(path)), readTexts: () => NO_TEXTS })

const NO_TEXTS: TextFiles = { tokenizer: undefined, chatTemplate: undefined }

/** `openModel` of what is known to be a folder of safetensors. */
export const openCheckpoint = (path: string): Checkpoint => checkpointOf(openFolder(path))

interface Demands {
  readonly mayLack: boolean // tensors
}

/** Checks what was opened and takes it over, or closes it. */
function checkpointOf(source: ModelSource, demands: Demands = { mayLack: false }): Checkpoint {
  try {
    return assemble(source, demands)
  } catch (error) {
    for (const file of source.files) file.close()
    throw error
  }
}

function declare({
  path,
  config,
  configPath,
  keyNames,
  generationConfig,
  hasWeights,
  locate,
}: ModelConfig): DeclaredModel {
  const published = specOf(config, configPath, keyNames)
  const declared = locate?.(published) ?? published
  fp8BlockSize(config, configPath) // refuses tensors of a kind that is not served
  const defaults = generationDefaults(generationConfig, join(dirname(configPath), 'generation_config.json'))
  const spec = defaults.eosTokenIds.length > 0 ? { ...declared, eosTokenIds: defaults.eosTokenIds } : declared
  return { path, spec, defaults, hasWeights }
}

function assemble(source: ModelSource, { mayLack }: Demands): Checkpoint {
  const { path, configPath, files } = source
  const { spec, defaults } = declare(source)
  const tensors = joinQuantised(tensorsOf(files), fp8BlockSize(source.config, configPath))
  const wanted = wantedTensors(spec)
  const leftOut = sizesLeftOut(source.config)
  const missing = [...wanted.keys()].filter((name) => !tensors.has(name))
  const requireComplete = (): void => {
    if (missing.length === 0) return
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
    const by = leftOut === '' ? '' : `, which ${configPath} asks for${leftOut}`
    throw new ClusterError('invalid_argument', `${path}: missing tensor ${missing.slice(0, 3).join(', ')}${more}${by}`)
  }
  if (!mayLack) requireComplete()
  const find = (ref: TensorRef): StoredTensor => {
    const stored = tensors.get(ref.name)
    if (stored === undefined) throw new ClusterError('invalid_argument', `${path}: missing tensor ${ref.name}`)
    const shape = storedShape(ref)
    if (stored.shape.length === shape.length && stored.shape.every((size, i) => size === shape[i])) return stored
    throw new ClusterError(
      'invalid_argument',
      `${stored.file}: tensor ${ref.name}: want shape [${shape.join(', ')}] by ${configPath}${leftOut}, ` +
        `got [${stored.shape.join(', ')}]`,
    )
  }
  for (const ref of tensorRefs(spec)) {
    if (!tensors.has(ref.name)) continue
    const { file, name, dtype } = find(ref)
    requireConvertible(`${file}: tensor ${name}`, dtype)
  }
  const fingerprint = fingerprintOf(source)
  const { tokenizer, chatTemplate } = source.readTexts()
  const template =
    chatTemplate === undefined ? undefined : createChatTemplate(chatTemplate, tokenizer?.config ?? {}, path)
  return {
    path,
    spec,
    defaults,
    tokenizer: tokenizer && tokenizerOf(tokenizer, spec.vocabSize),
    chatTemplate: template,
    fingerprint,
    weightKey: weightKeyOf(fingerprint, files),
    createdUnixMs: Math.floor(statSync(configPath).mtimeMs),
    missing,
    requireComplete,
    unexpected: [...tensors.keys()].filter((name) => !wanted.has(name)),
    tensors,
    tensor: (ref) => readTensor(find(ref), ref),
    rows: (ref, first, count, into) => readTensorRows(find(ref), ref, { first, count }, into),
    blocks: (ref, first, count) => readTensorBlocks(find(ref), ref, first, count),
    close: () => {
      template?.close()
      files.forEach((file) => file.close())
    },
  }
}

/** The tensors of all files by name. */
function tensorsOf(files: readonly TensorFile[]): ReadonlyMap<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>()
  for (const tensor of files.flatMap((file) => [...file.tensors.values()])) {
    const other = tensors.get(tensor.name)
    if (other !== undefined) {
      throw new ClusterError(
        'invalid_argument',
        `${tensor.file}: tensor ${tensor.name}: want it once, got it in ${other.file} too`,
      )
    }
    tensors.set(tensor.name, tensor)
  }
  return tensors
}

/** Every reference of the spec: several may name one tensor (fused experts, a tied embedding). */
export function tensorRefs(spec: ModelSpec): readonly TensorRef[] {
  const linears: LinearRef[] = [spec.lmHead]
  const others: (TensorRef | undefined)[] = [spec.embedding, spec.finalNorm]
  for (const { attention, attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ffn } of spec.layers) {
    others.push(attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm, ...attentionVectors(attention))
    others.push(ffn.gate?.weight, ffn.gate?.bias, ffn.gate?.correction, ffn.always?.sigmoidGate)
    linears.push(...attentionLinears(attention))
    for (const { gate, up, down } of [...ffn.experts, ...(ffn.always ? [ffn.always.ffn] : [])])
      linears.push(gate, up, down)
  }
  return [...others, ...linears.flatMap(({ weight, bias }) => [weight, bias])].filter((ref) => ref !== undefined)
}

/** Every tensor that the spec refers to, by name: one of the references to it. */
export const wantedTensors = (spec: ModelSpec): ReadonlyMap<string, TensorRef> =>
  new Map(tensorRefs(spec).map((ref) => [ref.name, ref]))
