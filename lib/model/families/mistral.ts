// Mistral: Llama without biases and with one sliding window in every layer.

import { decoderSpec, denseFfn, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { windowEverywhere } from './windows.js'

export const mistral: Family = {
  architecture: 'MistralForCausalLM',
  defaults: { sliding_window: 4096 },
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
