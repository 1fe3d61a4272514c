// Mixture-of-experts checkpoints made of seeded noise, for measurements: the sizes of real ones without their download.
//
// Invariants
//   SY1  The same shape and seed give the same bytes.
//   SY2  config.json appears last and names shape, seed and generator: a folder that has it is whole.
//   SY3  Memory holds one piece of one tensor, never the model.

import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../lib/errors.js'
import { wantedTensors } from '../lib/model/checkpoint.js'
import { specOf } from '../lib/model/families/registry.js'
import type { TensorRef } from '../lib/model/spec.js'
import { fillGaussian, gaussianTable, keyOf } from './gaussian.js'

/** A Qwen3-MoE model; every row length is a multiple of 32. */
export interface SyntheticShape {
  readonly layers: number
  readonly experts: number
  readonly expertsPerToken: number
  readonly hidden: number
  readonly expertIntermediate: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly vocabSize: number
  readonly maxPositions: number
}

const COMMON = { layers: 24, experts: 32, expertsPerToken: 4, headDim: 64, maxPositions: 4096 }

/** The shapes of the bench, by their size in 8 bit: about 0.1, 0.4 and 1.5 GB. */
export const SYNTHETIC_SHAPES: Readonly<Record<string, SyntheticShape>> = {
  '0.1': { ...COMMON, hidden: 512, expertIntermediate: 64, heads: 8, kvHeads: 2, vocabSize: 16_000 },
  '0.4': { ...COMMON, hidden: 1024, expertIntermediate: 128, heads: 16, kvHeads: 4, vocabSize: 32_000 },
  '1.5': { ...COMMON, hidden: 2048, expertIntermediate: 256, heads: 16, kvHeads: 4, vocabSize: 32_000 },
}

const GENERATOR = 1 // version: another one makes other bytes
const PIECE = 1 << 20 // values written at a time

/**
 * Writes a checkpoint folder (BF16, no tokenizer) unless it holds this shape and seed already; says whether it wrote.
 * Throws `failed_precondition` where the folder holds a model that was not made here.
 */
export function writeSyntheticCheckpoint(folder: string, shape: SyntheticShape, seed: number): 'written' | 'reused' {
  const config = configOf(shape, seed)
  const text = JSON.stringify(config, null, 2)
  const configFile = join(folder, 'config.json')
  if (existsSync(configFile)) {
    const found = readFileSync(configFile, 'utf8')
    if (found === text) return 'reused'
    if (!found.includes(`"${STAMP}"`))
      throw new ClusterError('failed_precondition', `${folder}: want a folder without a model, found one with`)
    rmSync(configFile)
  }
  mkdirSync(folder, { recursive: true })
  const tensors = [...wantedTensors(specOf(config, configFile)).values()]
  writeWeights(join(folder, 'model.safetensors'), tensors, seed)
  writeFileSync(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: 0, do_sample: false }))
  writeFileSync(configFile, text)
  return 'written'
}

const STAMP = 'banyan_synthetic'

function configOf(shape: SyntheticShape, seed: number): Readonly<Record<string, unknown>> {
  return {
    [STAMP]: { generator: GENERATOR, seed },
    architectures: ['Qwen3MoeForCausalLM'],
    model_type: 'qwen3_moe',
    vocab_size: shape.vocabSize,
    hidden_size: shape.hidden,
    intermediate_size: shape.expertIntermediate,
    moe_intermediate_size: shape.expertIntermediate,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.headDim,
    num_experts: shape.experts,
    num_experts_per_tok: shape.expertsPerToken,
    norm_topk_prob: true,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    hidden_act: 'silu',
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    max_position_embeddings: shape.maxPositions,
    tie_word_embeddings: false,
    attention_bias: false,
    bos_token_id: null,
    eos_token_id: 0,
    torch_dtype: 'bfloat16',
  }
}

const sizeOf = ({ shape }: TensorRef): number => shape.reduce((product, axis) => product * axis, 1)

function writeWeights(file: string, tensors: readonly TensorRef[], seed: number): void {
  const partial = `${file}.partial`
  const fd = openSync(partial, 'w')
  try {
    writeAll(fd, headerOf(tensors))
    const tables = new Map<string, Uint16Array>()
    for (const tensor of tensors) {
      const { mean, deviation } = distributionOf(tensor)
      const name = `${mean} ${deviation}`
      const table = tables.get(name) ?? gaussianTable(mean, deviation)
      tables.set(name, table)
      writeTensor(fd, tensor, { table, seed })
    }
  } finally {
    closeSync(fd)
  }
  renameSync(partial, file)
}

function headerOf(tensors: readonly TensorRef[]): Uint8Array {
  let offset = 0
  const entries = tensors.map((tensor) => {
    const begin = offset
    offset += sizeOf(tensor) * 2
    return [tensor.name, { dtype: 'BF16', shape: tensor.shape, data_offsets: [begin, offset] }] as const
  })
  const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const header = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ')
  header.writeBigUInt64LE(BigInt(header.length - 8))
  text.copy(header, 8)
  return header
}

/**
 * Spreads that keep a token's values near 1 through every layer and give the logits a clear best one. Attention adds
 * little, or else greedy decoding ends in one token for ever, always with the same few experts.
 */
function distributionOf({ name, shape }: TensorRef): { readonly mean: number; readonly deviation: number } {
  const [, inputs] = shape
  if (inputs === undefined) return { mean: 1, deviation: 0.05 } // a norm
  if (name.includes('embed_tokens')) return { mean: 0, deviation: 1 }
  const gain = name.includes('lm_head') ? 2 : name.includes('o_proj') ? 0.25 : 1
  return { mean: 0, deviation: gain / Math.sqrt(inputs) }
}

function writeTensor(
  fd: number,
  tensor: TensorRef,
  { table, seed }: { readonly table: Uint16Array; readonly seed: number },
): void {
  const key = keyOf(seed, tensor.name)
  const size = sizeOf(tensor)
  const piece = new Uint16Array(Math.min(PIECE, size))
  for (let first = 0; first < size; first += PIECE) {
    const values = piece.subarray(0, Math.min(PIECE, size - first))
    fillGaussian(values, first, table, key)
    writeAll(fd, new Uint8Array(values.buffer, 0, values.byteLength))
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done)
}
