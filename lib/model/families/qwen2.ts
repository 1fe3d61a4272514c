// Qwen2 and Qwen2.5 dense: Llama with biases on q, k and v, and windows in the upper layers where they are switched on.

import type { ConfigFields } from '../config-fields.js'
import { decoderSpec, denseFfn, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { layerTypesOf, windowByLayerType, type WindowOf } from './windows.js'

export const QWEN_WINDOWS = { sliding_window: 4096, max_window_layers: 28 }

/** Windows from layer `max_window_layers` on, or as `layer_types` says; none unless `use_sliding_window`. */
export function upperWindows(fields: ConfigFields): WindowOf {
  const isOn = fields.flag('use_sliding_window', false)
  const first = fields.count('max_window_layers')
  const types = layerTypesOf(fields, (layer) => isOn && layer >= first)
  return isOn ? windowByLayerType(fields, types) : () => undefined
}

export const qwen2: Family = {
  architecture: 'Qwen2ForCausalLM',
  defaults: QWEN_WINDOWS,
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, { qkvBias: true, outputBias: false, window: upperWindows(fields) }),
      ffn: (_, prefix) => denseFfn(fields, prefix),
    }),
}
