// Mixtral: Mistral with every layer sparse, softmax over the chosen experts, `block_sparse_moe` names.

import { DECODER_DEFAULTS, decoderSpec, expertCounts, ffnSpec, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { windowEverywhere } from './windows.js'

const NAMES = { gate: 'w1', up: 'w3', down: 'w2' }

export const mixtral: Family = {
  architecture: 'MixtralForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope_theta: 1e6,
    num_local_experts: 8,
    num_experts_per_tok: 2,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  spec: (fields) => {
    const hidden = fields.size('hidden_size')
    const intermediate = fields.size('intermediate_size')
    const { numExperts, topK } = expertCounts(fields)
    if (numExperts === 0) fields.refuse('num_local_experts', 'at least 1')
    return decoderSpec(fields, {
      attention: groupedAttention(fields, { qkvBias: false, outputBias: false, window: windowEverywhere(fields) }),
      ffn: (_, prefix) => {
        const moe = `${prefix}.block_sparse_moe`
        return {
          experts: Array.from({ length: numExperts }, (_, e) =>
            ffnSpec(`${moe}.experts.${e}`, hidden, intermediate, NAMES),
          ),
          gate: {
            weight: { name: `${moe}.gate.weight`, shape: [numExperts, hidden] },
            topK,
            scores: 'softmax-of-chosen',
            renormalise: false,
          },
        }
      },
    })
  },
}
