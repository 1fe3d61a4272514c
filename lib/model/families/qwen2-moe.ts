// Qwen2-MoE: sparse layers with a shared expert behind a sigmoid gate, biases on q, k and v, windows in every other one of
// the lower layers where they are switched on.

import type { ConfigFields } from '../config-fields.js'
import { decoderSpec, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { QWEN_WINDOWS } from './qwen2.js'
import { sparseOrDense } from './sparse.js'
import { layerTypesOf, windowByLayerType, type WindowOf } from './windows.js'

export const qwen2Moe: Family = {
  architecture: 'Qwen2MoeForCausalLM',
  defaults: QWEN_WINDOWS,
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, {
        qkvBias: fields.flag('qkv_bias', true),
        outputBias: false,
        window: lowerWindows(fields),
      }),
      ffn: sparseOrDense(fields, () => ({
        intermediate: fields.size('moe_intermediate_size'),
        renormalise: fields.flag('norm_topk_prob', false),
        sharedIntermediate: fields.size('shared_expert_intermediate_size'),
      })),
    }),
}

function lowerWindows(fields: ConfigFields): WindowOf {
  if (!fields.flag('use_sliding_window', false)) return () => undefined
  const end = fields.count('max_window_layers')
  return windowByLayerType(
    fields,
    layerTypesOf(fields, (layer) => layer % 2 === 0 && layer < end),
  )
}
