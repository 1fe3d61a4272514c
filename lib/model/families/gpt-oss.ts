// gpt-oss: sinks in every head, a sliding window in every other layer, a router with bias, and experts with biases and a
// clamped SwiGLU, fused into two tensors that lie transposed, the columns of gate and up taking turns.

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec, LinearRef } from '../spec.js'
import { decoderSpec, expertCounts, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { layerTypesOf, windowByLayerType } from './windows.js'

export const gptOss: Family = {
  architecture: 'GptOssForCausalLM',
  defaults: {
    rms_norm_eps: 1e-5,
    sliding_window: 128,
    rope_theta: 150_000,
    rope_parameters: {
      rope_type: 'yarn',
      factor: 32,
      beta_fast: 32,
      beta_slow: 1,
      truncate: false,
      original_max_position_embeddings: 4096,
    },
  },
  spec: (fields) => {
    const hasBias = fields.flag('attention_bias', true)
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
        alpha: fields.number('swiglu_alpha', 1.702),
        limit: fields.number('swiglu_limit', 7),
      },
    })
  },
}

function fusedExperts(fields: ConfigFields, prefix: string): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const intermediate = fields.size('intermediate_size')
  const { numExperts, topK } = expertCounts(fields)
  if (numExperts === 0) fields.refuse('num_local_experts', 'at least 1')
  /** An expert's matrix inside a tensor [experts, inputs, outputs], with its bias: a row in every `step`, from `first` on. */
  const part = (
    name: string,
    item: number,
    sizes: { outputs: number; inputs: number },
    first = 0,
    step = 1,
  ): LinearRef => {
    const { outputs, inputs } = sizes
    const rowOf = (row: number): number => first + row * step
    return {
      weight: {
        name: `${prefix}.experts.${name}`,
        shape: [outputs / step, inputs],
        part: { stored: [numExperts, inputs, outputs], item, isTransposed: true, rowOf },
      },
      bias: {
        name: `${prefix}.experts.${name}_bias`,
        shape: [outputs / step],
        part: { stored: [numExperts, outputs], item, rowOf },
      },
    }
  }
  const gateUp = { outputs: 2 * intermediate, inputs: hidden }
  return {
    experts: Array.from({ length: numExperts }, (_, expert) => ({
      intermediate,
      gate: part('gate_up_proj', expert, gateUp, 0, 2),
      up: part('gate_up_proj', expert, gateUp, 1, 2),
      down: part('down_proj', expert, { outputs: hidden, inputs: intermediate }),
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
