// OLMoE: every layer sparse, q/k norm over the whole projection, q, k and v clipped where the configuration says so.

import { decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { moeFfn } from './sparse.js'

export const olmoe: Family = {
  architecture: 'OlmoeForCausalLM',
  spec: (fields) => {
    const hasBias = fields.flag('attention_bias', false)
    return decoderSpec(fields, {
      qkvBias: hasBias,
      outputBias: hasBias,
      qkNorm: 'projection',
      ...(fields.has('clip_qkv') ? { clip: fields.number('clip_qkv') } : {}),
      ffn: (_, prefix) =>
        moeFfn(fields, prefix, {
          intermediate: fields.size('intermediate_size'),
          renormalise: fields.flag('norm_topk_prob', false),
        }),
    })
  },
}
