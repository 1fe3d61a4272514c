// Qwen3 dense: Llama with q/k norm per head.

import { biasedAttention, decoderSpec, denseFfn } from './decoder.js'
import type { Family } from './family.js'
import { qwen2, upperWindows } from './qwen2.js'

export const qwen3: Family = {
  architecture: 'Qwen3ForCausalLM',
  defaults: { ...qwen2.defaults, head_dim: 128 },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: biasedAttention(fields, { qkNorm: 'head', window: upperWindows(fields) }),
      ffn: (_, prefix) => denseFfn(fields, prefix),
    }),
}
