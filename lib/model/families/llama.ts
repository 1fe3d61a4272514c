// Llama: dense SwiGLU FFNs.

import { biasedAttention, decoderSpec, denseFfn } from './decoder.js'
import type { Family } from './family.js'

export const llama: Family = {
  architecture: 'LlamaForCausalLM',
  spec: (fields) =>
    decoderSpec(fields, {
      attention: biasedAttention(fields),
      ffn: (_, prefix) => denseFfn(fields, prefix, fields.flag('mlp_bias', false)),
    }),
}
