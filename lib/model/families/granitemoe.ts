// Granite-MoE: Mixtral's gate, experts fused into one tensor a side, and multipliers of the embedding, the scores, what
// is added to the residual, and the logits. All but the scores' are folded into the weights.

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec, LinearRef } from '../spec.js'
import { biasedAttention, decoderSpec, expertCounts, mapLayers, scaled, scaledLinear } from './decoder.js'
import type { Family } from './family.js'

export const graniteMoe: Family = {
  architecture: 'GraniteMoeForCausalLM',
  spec: (fields) => {
    const residual = fields.number('residual_multiplier', 1)
    const spec = decoderSpec(fields, {
      attention: biasedAttention(fields, { scale: fields.number('attention_multiplier', 1) }),
      ffn: (_, prefix) => fusedExperts(fields, `${prefix}.block_sparse_moe`, residual),
    })
    const logitsScaling = fields.number('logits_scaling', 1)
    if (logitsScaling === 0) fields.refuse('logits_scaling', 'a number other than 0')
    return {
      ...mapLayers(spec, (layer) => ({
        ...layer,
        attention: { ...layer.attention, o: scaledLinear(layer.attention.o, residual) },
      })),
      embedding: scaled(spec.embedding, fields.number('embedding_multiplier', 1)),
      lmHead: scaledLinear(spec.lmHead, 1 / logitsScaling),
    }
  },
}

function fusedExperts(fields: ConfigFields, prefix: string, residual: number): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const intermediate = fields.size('intermediate_size')
  const { numExperts, topK } = expertCounts(fields)
  if (numExperts === 0) fields.refuse('num_local_experts', 'at least 1')
  /** Rows from `first` on of an expert's matrix inside a tensor [experts, outputs, inputs]. */
  const part = (name: string, item: number, stored: readonly number[], rows: number, first: number): LinearRef => ({
    weight: {
      name: `${prefix}.${name}.weight`,
      shape: [rows, stored[1]!],
      part: { stored: [numExperts, ...stored], item, rowOf: (row) => first + row },
    },
  })
  return {
    experts: Array.from({ length: numExperts }, (_, expert) => ({
      intermediate,
      gate: part('input_linear', expert, [2 * intermediate, hidden], intermediate, 0),
      up: part('input_linear', expert, [2 * intermediate, hidden], intermediate, intermediate),
      down: scaledLinear(part('output_linear', expert, [hidden, intermediate], hidden, 0), residual),
    })),
    gate: {
      weight: { name: `${prefix}.router.layer.weight`, shape: [numExperts, hidden] },
      topK,
      scores: 'softmax-of-chosen',
      renormalise: false,
    },
  }
}
