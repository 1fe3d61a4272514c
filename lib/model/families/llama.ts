// Llama: dense SwiGLU FFNs.

import { biasedAttention, DECODER_DEFAULTS, decoderSpec, denseFfn } from './decoder.js'
import type { Family } from './family.js'

export const llama: Family = {
  architecture: 'LlamaForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 2048,
    mlp_bias: false,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: biasedAttention(fields),
      ffn: (_, prefix) => denseFfn(fields, prefix, fields.flag('mlp_bias')),
    }),
}
