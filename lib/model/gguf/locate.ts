// Where a GGUF file holds what a model's spec asks for: the family says what a model is, the file's architecture under
// which names and in which order its numbers lie.
//
// Invariants
//   GL1  Every tensor of a layer is used, or the file is refused: one that is left out would change what is computed.
//   GL2  A factor of the spec stays; what a spec adds to a tensor is in the file's numbers already (Gemma's norms).

import { ClusterError } from '../../errors.js'
import { headsOf } from '../attention-parts.js'
import type {
  AttentionSpec,
  FfnLayerSpec,
  FfnSpec,
  GroupedAttentionSpec,
  LayerSpec,
  LinearRef,
  ModelSpec,
  TensorPart,
  TensorRef,
} from '../spec.js'
import type { TensorFile } from '../stored-tensor.js'
import type { GgufArchitecture } from './config.js'

/** The tensors of a file, or of all its parts. */
type NamedTensors = Pick<TensorFile, 'path' | 'tensors'>

/** Gives specs the names and places of the file; what it reads, it reads at once. */
export function locate({ rotatesNeighbours }: GgufArchitecture, file: NamedTensors): (spec: ModelSpec) => ModelSpec {
  const factors = file.tensors.get('rope_freqs.weight')?.readRows(0, 1)
  return (spec) => {
    const names = createNames(file)
    const { embedding, finalNorm, lmHead } = spec
    const isTied = lmHead.weight.name === embedding.name
    const located: ModelSpec = {
      ...spec,
      embedding: names.tensor('token_embd.weight', embedding),
      finalNorm: names.tensor('output_norm.weight', finalNorm),
      lmHead: names.linear(isTied ? 'token_embd' : 'output', lmHead),
      layers: spec.layers.map((layer, i) => locateLayer(layer, `blk.${i}`, names, rotatesNeighbours)),
    }
    names.refuseUnused()
    return factors === undefined ? located : withFactors(located, factors, file.path)
  }
}

interface Names {
  has(name: string): boolean
  tensor(name: string, ref: TensorRef, part?: TensorPart): TensorRef
  /** NAME.weight and NAME.bias, with the same change of rows. */
  linear(name: string, linear: LinearRef, rowOf?: (row: number) => number): LinearRef
  /** An expert's matrix: an item of one tensor of all, or (older) a tensor of its own. */
  expert(name: string, linear: LinearRef, expert: ExpertPlace): LinearRef
  refuseUnused(): void
}

interface ExpertPlace {
  readonly block: string
  readonly item: number
  readonly count: number
}

/** Tensors that llama.cpp computes nothing with. */
const IDLE = /\.(attn_rot_embd|rope_freqs)\.weight$/

function createNames(file: NamedTensors): Names {
  const used = new Set<string>()
  const has = (name: string): boolean => file.tensors.has(name)
  const tensor: Names['tensor'] = (name, { shape, times }, part) => {
    used.add(name)
    return { name, shape, ...(part && { part }), ...(times !== undefined && { times }) }
  }
  return {
    has,
    tensor,
    linear: (name, { weight, bias }, rowOf) => ({
      weight: tensor(`${name}.weight`, weight, rowOf && { stored: weight.shape, rowOf }),
      ...(bias && { bias: tensor(`${name}.bias`, bias, rowOf && { stored: bias.shape, rowOf }) }),
    }),
    expert: (name, { weight, bias }, { block, item, count }) => {
      const alone = `${block}.${name}.${item}.weight`
      if (has(alone)) return { weight: tensor(alone, weight) }
      const place = ({ shape }: TensorRef): TensorPart => ({ stored: [count, ...shape], item })
      return {
        weight: tensor(`${block}.${name}_exps.weight`, weight, place(weight)),
        ...(bias && { bias: tensor(`${block}.${name}_exps.bias`, bias, place(bias)) }),
      }
    },
    refuseUnused: () => {
      const isOfLayer = (name: string): boolean => name.startsWith('blk.')
      const unused = [...file.tensors.keys()].filter((name) => isOfLayer(name) && !used.has(name) && !IDLE.test(name))
      if (unused.length > 0) {
        const more = unused.length > 3 ? ` and ${unused.length - 3} more` : ''
        const listed = `${unused.slice(0, 3).join(', ')}${more}`
        throw new ClusterError(
          'unimplemented',
          `${file.path}: want no tensors that this version does not use, got ${listed}`,
        )
      }
    },
  }
}

function locateLayer(layer: LayerSpec, block: string, names: Names, rotatesNeighbours: boolean): LayerSpec {
  const { attentionNorm, attentionPostNorm, ffnNorm, ffnPostNorm } = layer
  const postNorm = `${block}.post_attention_norm.weight`
  const plainNorm = `${block}.ffn_norm.weight`
  const isPostNormOfFfn = attentionPostNorm === undefined && !names.has(plainNorm) && names.has(postNorm) // gpt-oss
  return {
    attentionNorm: names.tensor(`${block}.attn_norm.weight`, attentionNorm),
    attention: locateAttention(layer.attention, block, names, rotatesNeighbours),
    ...(attentionPostNorm && { attentionPostNorm: names.tensor(postNorm, attentionPostNorm) }),
    ffnNorm: names.tensor(isPostNormOfFfn ? postNorm : plainNorm, ffnNorm),
    ffn: locateFfn(layer.ffn, block, names),
    ...(ffnPostNorm && { ffnPostNorm: names.tensor(`${block}.post_ffw_norm.weight`, ffnPostNorm) }),
  }
}

function locateAttention(
  attention: AttentionSpec,
  block: string,
  names: Names,
  rotatesNeighbours: boolean,
): GroupedAttentionSpec {
  if (attention.kind !== 'grouped') throw new ClusterError('unimplemented', `${block}: latent attention in a GGUF file`)
  const { headDim, qkNorm, sinks } = attention
  const rowOf = rotatesNeighbours ? neighboursOf(headDim) : undefined
  return {
    ...attention,
    q: names.linear(`${block}.attn_q`, attention.q, rowOf),
    k: names.linear(`${block}.attn_k`, attention.k, rowOf),
    v: names.linear(`${block}.attn_v`, attention.v),
    o: names.linear(`${block}.attn_output`, attention.o),
    ...(qkNorm && {
      qkNorm: {
        over: qkNorm.over,
        q: names.tensor(`${block}.attn_q_norm.weight`, qkNorm.q),
        k: names.tensor(`${block}.attn_k_norm.weight`, qkNorm.k),
      },
    }),
    ...(sinks && { sinks: names.tensor(`${block}.attn_sinks.weight`, sinks) }),
  }
}

/** Where the row lies that is rotated with the one half a head further on, in a file where such rows are neighbours. */
function neighboursOf(headDim: number): (row: number) => number {
  const half = headDim / 2
  return (row) => {
    const place = row % headDim
    return row - place + (place < half ? 2 * place : 2 * (place - half) + 1)
  }
}

function locateFfn(ffn: FfnLayerSpec, block: string, names: Names): FfnLayerSpec {
  const { experts, gate, always } = ffn
  const suffix = gate === undefined ? '' : '_shexp'
  return {
    experts: experts.map((expert, item) => locateExpert(expert, { block, item, count: experts.length }, names)),
    ...(gate && {
      gate: {
        ...gate,
        weight: names.tensor(`${block}.ffn_gate_inp.weight`, gate.weight),
        ...(gate.bias && { bias: names.tensor(`${block}.ffn_gate_inp.bias`, gate.bias) }),
        ...(gate.correction && { correction: names.tensor(`${block}.exp_probs_b.bias`, gate.correction) }),
      },
    }),
    ...(always && {
      always: {
        ffn: {
          ...always.ffn,
          gate: names.linear(`${block}.ffn_gate${suffix}`, always.ffn.gate),
          up: names.linear(`${block}.ffn_up${suffix}`, always.ffn.up),
          down: names.linear(`${block}.ffn_down${suffix}`, always.ffn.down),
        },
        ...(always.sigmoidGate && {
          sigmoidGate: names.tensor(`${block}.ffn_gate_inp_shexp.weight`, always.sigmoidGate, {
            stored: always.sigmoidGate.shape.slice(1),
          }),
        }),
      },
    }),
  }
}

function locateExpert(expert: FfnSpec, place: ExpertPlace, names: Names): FfnSpec {
  const fused = `${place.block}.ffn_gate_up_exps.weight`
  const half = (ref: TensorRef, first: number): LinearRef => {
    const [rows = 0, ...rest] = ref.shape
    const stored = [place.count, 2 * rows, ...rest]
    return { weight: names.tensor(fused, ref, { stored, item: place.item, rowOf: (row) => first + row }) }
  }
  const isFused = names.has(fused)
  return {
    ...expert,
    gate: isFused ? half(expert.gate.weight, 0) : names.expert('ffn_gate', expert.gate, place),
    up: isFused ? half(expert.up.weight, expert.intermediate) : names.expert('ffn_up', expert.up, place),
    down: names.expert('ffn_down', expert.down, place),
  }
}

/** Llama 3's rotation: the file says what each frequency is divided by. */
function withFactors(spec: ModelSpec, factors: Float32Array, path: string): ModelSpec {
  const change = (attention: AttentionSpec): AttentionSpec => {
    const wanted = headsOf(attention).headDim / 2
    if (factors.length !== wanted || !factors.every((factor) => factor > 0 && factor < Infinity))
      throw new ClusterError('invalid_argument', `${path}: tensor rope_freqs.weight: want ${wanted} positive numbers`)
    return { ...attention, rope: { ...attention.rope, scaling: { type: 'factors', factors } } }
  }
  return { ...spec, layers: spec.layers.map((layer) => ({ ...layer, attention: change(layer.attention) })) }
}
