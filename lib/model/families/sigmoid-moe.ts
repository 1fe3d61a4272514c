// What the families share whose gate is DeepSeek-V3's (DeepSeek-V3, GLM-4-MoE): each expert's own sigmoid, a correction
// for the choice, groups, shared experts without a gate, first layers dense.

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec, GateSpec } from '../spec.js'
import { denseFfn, expertCounts, ffnSpec } from './decoder.js'

/** Dense layers, then sparse ones from `first_k_dense_replace` on. */
export function sparseAfterDense(fields: ConfigFields): (layer: number, prefix: string) => FfnLayerSpec {
  const firstSparse = fields.count('first_k_dense_replace')
  if ((fields.raw('moe_layer_freq') ?? 1) !== 1) fields.refuse('moe_layer_freq', '1')
  return (layer, prefix) => (layer >= firstSparse ? sparseFfn(fields, `${prefix}.mlp`) : denseFfn(fields, prefix))
}

function sparseFfn(fields: ConfigFields, prefix: string): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const intermediate = fields.size('moe_intermediate_size')
  const { numExperts } = expertCounts(fields)
  const numShared = fields.count('n_shared_experts')
  return {
    experts: Array.from({ length: numExperts }, (_, e) => ffnSpec(`${prefix}.experts.${e}`, hidden, intermediate)),
    gate: gateOf(fields, prefix, hidden),
    ...(numShared > 0 && {
      always: { ffn: ffnSpec(`${prefix}.shared_experts`, hidden, numShared * intermediate) },
    }),
  }
}

function gateOf(fields: ConfigFields, prefix: string, hidden: number): GateSpec {
  const { numExperts, topK } = expertCounts(fields)
  if (numExperts === 0) fields.refuse('n_routed_experts', 'at least 1')
  if ((fields.raw('scoring_func') ?? 'sigmoid') !== 'sigmoid') fields.refuse('scoring_func', '"sigmoid"')
  if ((fields.raw('topk_method') ?? 'noaux_tc') !== 'noaux_tc') fields.refuse('topk_method', '"noaux_tc"')
  return {
    weight: { name: `${prefix}.gate.weight`, shape: [numExperts, hidden] },
    topK,
    scores: 'sigmoid',
    correction: { name: `${prefix}.gate.e_score_correction_bias`, shape: [numExperts] },
    ...groupsOf(fields, numExperts, topK),
    renormalise: fields.flag('norm_topk_prob', false),
    scale: fields.number('routed_scaling_factor'),
  }
}

/** None where every group is chosen. */
function groupsOf(fields: ConfigFields, numExperts: number, topK: number): Pick<GateSpec, 'groups'> {
  const count = fields.size('n_group')
  const chosen = fields.size('topk_group')
  if (chosen > count) fields.refuse('topk_group', `at most n_group ${count}`)
  if (chosen === count) return {}
  const size = numExperts / count
  if (!Number.isInteger(size) || size < 2)
    fields.refuse('n_group', `a divisor of the ${numExperts} experts that leaves at least 2 in a group`)
  if (topK > size * chosen)
    fields.refuse('num_experts_per_tok', `at most the ${size * chosen} experts of the chosen groups`)
  return { groups: { count, chosen } }
}
