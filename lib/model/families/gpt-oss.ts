// gpt-oss: sinks in every head, a sliding window in every other layer, a router with bias, and experts with biases and a
// clamped SwiGLU, fused into two tensors that lie transposed, the columns of gate and up taking turns.

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec } from '../spec.js'
import { DECODER_DEFAULTS, decoderSpec, expertCounts, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { fusedLinear, type FusedRows } from './fused.js'
import { layerTypesOf, windowByLayerType } from './windows.js'

/** The rotation of the published models, which an absent one and a null stand for. */
const YARN = {
  rope_type: 'yarn',
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
}

export const gptOss: Family = {
  architecture: 'GptOssForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 201_088,
    hidden_size: 2880,
    intermediate_size: 2880,
    num_hidden_layers: 36,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    head_dim: 64,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope_theta: 150_000,
    attention_bias: true,
    sliding_window: 128,
    num_local_experts: 128,
    num_experts_per_tok: 4,
    swiglu_alpha: 1.702,
    swiglu_limit: 7,
  },
  spec: (given) => {
    const fields = given.has('rope_parameters') ? given : given.with({ rope_parameters: YARN })
    const hasBias = fields.flag('attention_bias')
    const types = layerTypesOf(fields, (layer) => layer % 2 === 0)
    return decoderSpec(fields, {
      attention: groupedAttention(fields, {
        qkvBias: hasBias,
        outputBias: hasBias,
        window: windowByLayerType(fields, types),
        hasSinks: true,
      }),
      ffn: (_, prefix) => fusedExperts(fields, `${prefix}.mlp`),
      activation: {
        type: 'clamped-swiglu',
        alpha: fields.number('swiglu_alpha'),
        limit: fields.number('swiglu_limit'),
      },
    })
  },
}

function fusedExperts(fields: ConfigFields, prefix: string): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const intermediate = fields.size('intermediate_size')
  const { numExperts, topK } = expertCounts(fields)
  if (numExperts === 0) fields.refuse('num_local_experts', 'at least 1')
  const part = (name: string, item: number, rows: FusedRows) => {
    const weight = `${prefix}.experts.${name}`
    return fusedLinear({ weight, bias: `${weight}_bias`, numExperts, isTransposed: true }, item, rows)
  }
  const everyOther = { inputs: hidden, outputs: 2 * intermediate, rows: intermediate, step: 2 }
  return {
    experts: Array.from({ length: numExperts }, (_, expert) => ({
      intermediate,
      gate: part('gate_up_proj', expert, everyOther),
      up: part('gate_up_proj', expert, { ...everyOther, first: 1 }),
      down: part('down_proj', expert, { inputs: intermediate, outputs: hidden, rows: hidden }),
    })),
    gate: {
      weight: { name: `${prefix}.router.weight`, shape: [numExperts, hidden] },
      bias: { name: `${prefix}.router.bias`, shape: [numExperts] },
      topK,
      scores: 'softmax-of-chosen',
      renormalise: false,
    },
  }
}
