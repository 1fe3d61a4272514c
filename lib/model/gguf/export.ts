// A checkpoint as GGUF, for llama.cpp: its names, its order of dimensions, its metadata.
//
// Invariants
//   GX1  The weights are ours: f32 and f16 hold the published values (f16 rounded), int8 and int4 the levels that our own
//        kernels use, with the scale rounded to float16. A row that blocks of 32 do not fill stays float32, as with us.
//   GX2  Norms, biases and the gate stay float32.
//   GX3  What llama.cpp would compute otherwise is refused (`export-architectures.ts`).

import { basename, resolve } from 'node:path'
import { isQuantisable } from '../../compute/quantise.js'
import { inverseFrequencies } from '../../compute/rope-tables.js'
import { ClusterError } from '../../errors.js'
import type { Checkpoint } from '../checkpoint.js'
import { architectureOf, type GgufArchitecture } from './export-architectures.js'
import type { EncodedFormat } from './encoding.js'
import { vocabularyOf } from './export-vocabulary.js'
import type { GgufContent, GgufMetadata, GgufTensor } from './writer.js'
import { grouped } from '../attention-parts.js'
import type { FfnLayerSpec, LayerSpec, LinearRef, ModelSpec, TensorRef } from '../spec.js'

/** Widths of matrices in the file, and the number that names the mix (`general.file_type`). */
export const GGUF_WEIGHTS = {
  f32: { format: 'F32', fileType: 0 },
  f16: { format: 'F16', fileType: 1 },
  int8: { format: 'Q8_0', fileType: 7 },
  int4: { format: 'Q4_0', fileType: 2 },
} as const satisfies Record<string, { format: EncodedFormat; fileType: number }>

export type GgufWeights = keyof typeof GGUF_WEIGHTS

export interface GgufExport extends GgufContent {
  readonly isVocabularyInvented: boolean // no text: token ids only
}

const PIECE = 1 << 20 // values read at a time, about

/** Plans the file: nothing is read before its tensors are asked for. Throws `unimplemented` for what GX3 refuses. */
export function ggufOf(checkpoint: Checkpoint, weights: GgufWeights): GgufExport {
  const { spec } = checkpoint
  const architecture = architectureOf(spec)
  const vocabulary = vocabularyOf(checkpoint)
  const tensors = createTensors(checkpoint, GGUF_WEIGHTS[weights].format, architecture)
  return {
    metadata: [...metadataOf(checkpoint, architecture, weights), ...vocabulary.metadata],
    tensors: [
      ...tensors.matrix('token_embd.weight', [spec.embedding]),
      ...spec.layers.flatMap((layer, i) => layerTensors(tensors, layer, `blk.${i}`)),
      ...tensors.vector('output_norm.weight', spec.finalNorm),
      ...outputTensors(tensors, spec, architecture),
      ...rotationTensors(spec),
    ],
    isVocabularyInvented: vocabulary.isInvented,
  }
}

const EXPORT = 'export gguf'

function metadataOf({ spec, path }: Checkpoint, { name }: GgufArchitecture, weights: GgufWeights): GgufMetadata {
  const { ffn } = firstLayer(spec)
  const attention = grouped(firstLayer(spec).attention, EXPORT)
  const routed = ffn.experts[0]
  const counts: Readonly<Record<string, number | undefined>> = {
    vocab_size: spec.vocabSize,
    context_length: spec.maxPositions,
    embedding_length: spec.hidden,
    block_count: spec.layers.length,
    feed_forward_length: (routed ?? ffn.always?.ffn)?.intermediate,
    'attention.head_count': attention.numHeads,
    'attention.head_count_kv': attention.numKvHeads,
    'attention.key_length': attention.headDim,
    'attention.value_length': attention.headDim,
    'rope.dimension_count': attention.headDim,
    expert_count: routed && ffn.experts.length,
    expert_used_count: ffn.gate?.topK,
    expert_feed_forward_length: routed?.intermediate,
    expert_shared_feed_forward_length: routed && ffn.always?.ffn.intermediate,
  }
  return [
    ['general.architecture', { type: 'string', value: name }],
    ['general.name', { type: 'string', value: basename(resolve(path)) }],
    ['general.file_type', { type: 'uint32', value: GGUF_WEIGHTS[weights].fileType }],
    ['general.quantization_version', { type: 'uint32', value: 2 }],
    ...Object.entries(counts).flatMap(([key, value]): GgufMetadata =>
      value === undefined ? [] : [[`${name}.${key}`, { type: 'uint32', value }]],
    ),
    [`${name}.attention.layer_norm_rms_epsilon`, { type: 'float32', value: spec.normEpsilon }],
    [`${name}.rope.freq_base`, { type: 'float32', value: attention.rope.theta }],
  ]
}

function firstLayer({ layers: [first] }: ModelSpec): LayerSpec {
  if (first === undefined)
    throw new ClusterError('invalid_argument', 'export gguf: want at least one layer, found none')
  return first
}

interface Tensors {
  /** A matrix [outputs, inputs], or several of one shape stacked, in the chosen format. */
  matrix(name: string, refs: readonly TensorRef[], headDim?: number): GgufTensor[]
  /** A matrix that stays float32. */
  exact(name: string, ref: TensorRef): GgufTensor[]
  /** All values of a tensor in one dimension, float32. */
  vector(name: string, ref: TensorRef | undefined, headDim?: number): GgufTensor[]
  /** NAME.weight and, where there is one, NAME.bias. */
  linear(name: string, linear: LinearRef): GgufTensor[]
  /** As `linear`, for the projections that are rotated per head. */
  rotated(name: string, linear: LinearRef, headDim: number): GgufTensor[]
}

function createTensors(checkpoint: Checkpoint, format: EncodedFormat, architecture: GgufArchitecture): Tensors {
  const isBlocked = format === 'Q8_0' || format === 'Q4_0'
  const planned = (name: string, refs: readonly TensorRef[], as: EncodedFormat, headDim?: number): GgufTensor => {
    const [first] = refs
    if (first === undefined) throw new ClusterError('internal', `export gguf: ${name}: want a source, found none`)
    const dims = [...first.shape].reverse()
    return {
      name,
      dims: refs.length === 1 ? dims : [...dims, refs.length],
      format: as,
      pieces: () => piecesOf(checkpoint, refs, headDim),
    }
  }
  const matrix: Tensors['matrix'] = (name, refs, headDim) => {
    const isFilled = isQuantisable(refs[0]?.shape[1] ?? 0)
    return [planned(name, refs, isBlocked && !isFilled ? 'F32' : format, headDim)]
  }
  const vector: Tensors['vector'] = (name, ref, headDim) => {
    if (ref === undefined) return []
    const size = ref.shape.reduce((product, axis) => product * axis, 1)
    return [{ ...planned(name, [ref], 'F32', headDim), dims: [size] }]
  }
  const both = (name: string, { weight, bias }: LinearRef, headDim?: number): GgufTensor[] => [
    ...matrix(`${name}.weight`, [weight], headDim),
    ...vector(`${name}.bias`, bias, headDim),
  ]
  return {
    matrix,
    exact: (name, ref) => [planned(name, [ref], 'F32')],
    vector,
    linear: (name, linear) => both(name, linear),
    rotated: (name, linear, headDim) => both(name, linear, architecture.rotatesNeighbours ? headDim : undefined),
  }
}

/** Whole rows of the tensors one after another; with `headDim` each head's rows in the order of rotated neighbours. */
function* piecesOf(checkpoint: Checkpoint, refs: readonly TensorRef[], headDim?: number): Generator<Float32Array> {
  for (const ref of refs) {
    const [rows = 0, ...rest] = ref.shape
    const width = rest.reduce((product, axis) => product * axis, 1)
    const step = headDim ?? Math.max(1, Math.floor(PIECE / width))
    for (let first = 0; first < rows; first += step) {
      const piece = checkpoint.rows(ref, first, Math.min(step, rows - first))
      yield headDim === undefined ? piece : interleaveHalves(piece, headDim, width)
    }
  }
}

/** Rows 0 … n-1 of a head become 0, n/2, 1, n/2 + 1, …: what was rotated half a head apart now are neighbours. */
function interleaveHalves(rows: Float32Array, headDim: number, width: number): Float32Array {
  const result = new Float32Array(rows.length)
  for (let row = 0; row < headDim; row++) {
    const source = (row % 2) * (headDim / 2) + (row >> 1)
    result.set(rows.subarray(source * width, (source + 1) * width), row * width)
  }
  return result
}

function layerTensors(tensors: Tensors, layer: LayerSpec, block: string): GgufTensor[] {
  const { attentionNorm, ffnNorm, ffn } = layer
  const attention = grouped(layer.attention, EXPORT)
  const { headDim, qkNorm } = attention
  return [
    ...tensors.vector(`${block}.attn_norm.weight`, attentionNorm),
    ...tensors.rotated(`${block}.attn_q`, attention.q, headDim),
    ...tensors.rotated(`${block}.attn_k`, attention.k, headDim),
    ...tensors.linear(`${block}.attn_v`, attention.v),
    ...tensors.linear(`${block}.attn_output`, attention.o),
    ...tensors.vector(`${block}.attn_q_norm.weight`, qkNorm?.q),
    ...tensors.vector(`${block}.attn_k_norm.weight`, qkNorm?.k),
    ...tensors.vector(`${block}.ffn_norm.weight`, ffnNorm),
    ...ffnTensors(tensors, ffn, block),
  ]
}

const FFN_PARTS = ['gate', 'up', 'down'] as const

function ffnTensors(tensors: Tensors, { experts, gate, always }: FfnLayerSpec, block: string): GgufTensor[] {
  const suffix = gate === undefined ? '' : '_shexp'
  return [
    ...(gate === undefined ? [] : tensors.exact(`${block}.ffn_gate_inp.weight`, gate.weight)),
    ...FFN_PARTS.flatMap((part) => {
      const refs = experts.map((expert) => expert[part].weight)
      return refs.length === 0 ? [] : tensors.matrix(`${block}.ffn_${part}_exps.weight`, refs)
    }),
    ...tensors.vector(`${block}.ffn_gate_inp_shexp.weight`, always?.sigmoidGate),
    ...(always === undefined
      ? []
      : FFN_PARTS.flatMap((part) => tensors.linear(`${block}.ffn_${part}${suffix}`, always.ffn[part]))),
  ]
}

/** Without an `output.weight` llama.cpp takes the embedding, where the architecture allows it. */
function outputTensors(
  tensors: Tensors,
  { lmHead, embedding }: ModelSpec,
  architecture: GgufArchitecture,
): GgufTensor[] {
  const isTied = lmHead.weight.name === embedding.name
  return isTied && !architecture.wantsOutput ? [] : tensors.matrix('output.weight', [lmHead.weight])
}

/** Llama 3's rotation: what each frequency is divided by. */
function rotationTensors(spec: ModelSpec): GgufTensor[] {
  const { headDim, rope } = grouped(firstLayer(spec).attention, EXPORT)
  if (rope.scaling.type === 'default') return []
  const published = inverseFrequencies({ theta: rope.theta, scaling: { type: 'default' } }, headDim)
  const stretched = inverseFrequencies(rope, headDim)
  const factors = published.map((frequency, i) => frequency / (stretched[i] ?? frequency))
  return [{ name: 'rope_freqs.weight', dims: [headDim / 2], format: 'F32', pieces: () => [factors] }]
}
