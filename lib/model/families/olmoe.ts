// OLMoE: every layer sparse, q/k norm over the whole projection, q, k and v clipped where the configuration says so. The
// norms are as wide as heads of hidden / heads values are: a head of another width has none that fits.

import { biasedAttention, DECODER_DEFAULTS, decoderSpec, headSizes } from './decoder.js'
import type { Family } from './family.js'
import { moeFfn } from './sparse.js'

export const olmoe: Family = {
  architecture: 'OlmoeForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 50_304,
    hidden_size: 2048,
    intermediate_size: 2048,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    num_experts: 64,
    num_experts_per_tok: 8,
    norm_topk_prob: false,
    eos_token_id: 50_279,
  },
  spec: (fields) => {
    const hidden = fields.size('hidden_size')
    const { numHeads, headDim } = headSizes(fields, hidden)
    if (headDim * numHeads !== hidden)
      fields.refuse(
        'head_dim',
        `hidden_size / num_attention_heads, ${hidden / numHeads}, which the norms of q and k are for`,
      )
    return decoderSpec(fields, {
      attention: biasedAttention(fields, {
        qkNorm: 'projection',
        ...(fields.has('clip_qkv') && { clip: fields.number('clip_qkv') }),
      }),
      ffn: (_, prefix) =>
        moeFfn(fields, prefix, {
          intermediate: fields.size('intermediate_size'),
          renormalise: fields.flag('norm_topk_prob'),
        }),
    })
  },
}
