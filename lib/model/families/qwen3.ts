// Qwen3 dense: Llama with q/k norm per head.

import type { Family } from './family.js'
import { decoderSpec, denseFfn } from './decoder.js'

export const qwen3: Family = {
  architecture: 'Qwen3ForCausalLM',
  spec: (fields) => {
    const hasBias = fields.flag('attention_bias', false)
    return decoderSpec(fields, {
      qkvBias: hasBias,
      outputBias: hasBias,
      qkNorm: 'head',
      ffn: (_, prefix) => denseFfn(fields, prefix),
    })
  },
}
