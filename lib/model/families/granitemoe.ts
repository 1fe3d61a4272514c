// Granite-MoE: Mixtral's gate, experts fused into one tensor a side, and multipliers of the embedding, the scores, what
// is added to the residual, and the logits. All but the scores' are folded into the weights.

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec } from '../spec.js'
import {
  biasedAttention,
  DECODER_DEFAULTS,
  decoderSpec,
  expertCounts,
  mapLayers,
  scaled,
  scaledLinear,
} from './decoder.js'
import type { Family } from './family.js'
import { fusedLinear, type FusedRows } from './fused.js'

export const graniteMoe: Family = {
  architecture: 'GraniteMoeForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 2048,
    embedding_multiplier: 1,
    attention_multiplier: 1,
    residual_multiplier: 1,
    logits_scaling: 1,
    num_local_experts: 8,
    num_experts_per_tok: 2,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  spec: (fields) => {
    const residual = fields.number('residual_multiplier')
    const spec = decoderSpec(fields, {
      attention: biasedAttention(fields, { scale: fields.number('attention_multiplier') }),
      ffn: (_, prefix) => fusedExperts(fields, `${prefix}.block_sparse_moe`, residual),
    })
    const logitsScaling = fields.number('logits_scaling')
    if (logitsScaling === 0) fields.refuse('logits_scaling', 'a number other than 0')
    return {
      ...mapLayers(spec, (layer) => ({
        ...layer,
        attention: { ...layer.attention, o: scaledLinear(layer.attention.o, residual) },
      })),
      embedding: scaled(spec.embedding, fields.number('embedding_multiplier')),
      lmHead: scaledLinear(spec.lmHead, 1 / logitsScaling),
    }
  },
}

function fusedExperts(fields: ConfigFields, prefix: string, residual: number): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const intermediate = fields.size('intermediate_size')
  const { numExperts, topK } = expertCounts(fields)
  if (numExperts === 0) fields.refuse('num_local_experts', 'at least 1')
  const half = { inputs: hidden, outputs: 2 * intermediate, rows: intermediate }
  const part = (name: string, item: number, rows: FusedRows) =>
    fusedLinear({ weight: `${prefix}.${name}.weight`, numExperts }, item, rows)
  return {
    experts: Array.from({ length: numExperts }, (_, expert) => ({
      intermediate,
      gate: part('input_linear', expert, half),
      up: part('input_linear', expert, { ...half, first: intermediate }),
      down: scaledLinear(
        part('output_linear', expert, { inputs: intermediate, outputs: hidden, rows: hidden }),
        residual,
      ),
    })),
    gate: {
      weight: { name: `${prefix}.router.layer.weight`, shape: [numExperts, hidden] },
      topK,
      scores: 'softmax-of-chosen',
      renormalise: false,
    },
  }
}
