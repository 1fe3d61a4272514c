// OLMoE: every layer sparse, q/k norm over the whole projection, q, k and v clipped where the configuration says so.

import { biasedAttention, decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { moeFfn } from './sparse.js'

export const olmoe: Family = {
  architecture: 'OlmoeForCausalLM',
  defaults: { rms_norm_eps: 1e-5 },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: biasedAttention(fields, {
        qkNorm: 'projection',
        ...(fields.has('clip_qkv') && { clip: fields.number('clip_qkv') }),
      }),
      ffn: (_, prefix) =>
        moeFfn(fields, prefix, {
          intermediate: fields.size('intermediate_size'),
          renormalise: fields.flag('norm_topk_prob', false),
        }),
    }),
}
