// Llama: dense SwiGLU FFNs.

import type { Family } from './family.js'
import { decoderSpec, denseFfn } from './decoder.js'

export const llama: Family = {
  architecture: 'LlamaForCausalLM',
  spec: (fields) => {
    const hasBias = fields.flag('attention_bias', false)
    return decoderSpec(fields, {
      qkvBias: hasBias,
      outputBias: hasBias,
      ffn: (_, prefix) => denseFfn(fields, prefix, fields.flag('mlp_bias', false)),
    })
  },
}
