// Mistral: Llama without biases and with one sliding window in every layer.

import { DECODER_DEFAULTS, decoderSpec, denseFfn, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { windowEverywhere } from './windows.js'

export const mistral: Family = {
  architecture: 'MistralForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131_072,
    sliding_window: 4096,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, {
        qkvBias: false,
        outputBias: false,
        window: windowEverywhere(fields),
      }),
      ffn: (_, prefix) => denseFfn(fields, prefix),
    }),
}
