// Qwen2 and Qwen2.5 dense: Llama with biases on q, k and v, and windows in the upper layers where they are switched on.

import type { ConfigFields } from '../config-fields.js'
import { DECODER_DEFAULTS, decoderSpec, denseFfn, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { layerTypesOf, windowByLayerType, type WindowOf } from './windows.js'

/** Windows from layer `max_window_layers` on, or as `layer_types` says; none unless `use_sliding_window`. */
export function upperWindows(fields: ConfigFields): WindowOf {
  const isOn = fields.flag('use_sliding_window') && fields.has('sliding_window')
  const first = fields.count('max_window_layers')
  const types = layerTypesOf(fields, (layer) => isOn && layer >= first)
  return isOn ? windowByLayerType(fields, types) : () => undefined
}

export const qwen2: Family = {
  architecture: 'Qwen2ForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    max_position_embeddings: 32_768,
    use_sliding_window: false,
    sliding_window: 4096,
    max_window_layers: 28,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, { qkvBias: true, outputBias: false, window: upperWindows(fields) }),
      ffn: (_, prefix) => denseFfn(fields, prefix),
    }),
}
