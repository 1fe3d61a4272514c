// FFNs and gates of the slow float64 reference, by the published names of each family.

import type { ReferenceConfig } from './reference-model.js'
import { plus, product, sigmoid, transposedProduct, type ReferenceTensors, type Vector } from './reference-tensors.js'

export function referenceFfn(config: ReferenceConfig, tensors: ReferenceTensors, layer: number, x: Vector): Vector {
  const isFused = config.model_type === 'granitemoe'
  const isMixtral = config.model_type === 'mixtral'
  const p = `model.layers.${layer}.${isFused || isMixtral ? 'block_sparse_moe' : 'mlp'}`
  const names = isMixtral ? (['w1', 'w3', 'w2'] as const) : (['gate_proj', 'up_proj', 'down_proj'] as const)
  const act = config.model_type === 'gemma3_text' ? gelu : silu
  const ffn = (prefix: string): Vector => {
    const [gate, up] = [tensors.linear(`${prefix}.${names[0]}`, x), tensors.linear(`${prefix}.${names[1]}`, x)]
    return tensors.linear(
      `${prefix}.${names[2]}`,
      gate.map((v, i) => act(v) * Number(up[i])),
    )
  }
  if (!isSparse(config, layer)) return ffn(p)
  const router = [`${p}.router.layer`, `${p}.router`].find((name) => tensors.has(`${name}.weight`)) ?? `${p}.gate`
  const logits = tensors.linear(router, x)
  const shares = gateShares(config, tensors, `${p}.gate`, logits)
  const expert = (id: number): Vector => {
    if (isFused) return graniteExpert(config, tensors, p, id, x)
    return config.model_type === 'gpt_oss' ? clampedExpert(config, tensors, p, id, x) : ffn(`${p}.experts.${id}`)
  }
  let result = x.map(() => 0)
  for (const { id, share } of shares) result = plus(result, expert(id), share)
  if (tensors.has(`${p}.shared_expert_gate.weight`))
    result = plus(result, ffn(`${p}.shared_expert`), sigmoid(Number(tensors.linear(`${p}.shared_expert_gate`, x)[0])))
  if (tensors.has(`${p}.shared_experts.gate_proj.weight`)) result = plus(result, ffn(`${p}.shared_experts`))
  return result
}

function isSparse(config: ReferenceConfig, layer: number): boolean {
  const numExperts = config.num_experts ?? config.num_local_experts ?? config.n_routed_experts ?? 0
  const isDense = (config.mlp_only_layers ?? []).includes(layer) || layer < (config.first_k_dense_replace ?? 0)
  return numExperts > 0 && !isDense && (layer + 1) % (config.decoder_sparse_step ?? 1) === 0
}

const silu = (v: number): number => v * sigmoid(v)
const gelu = (v: number): number => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))

interface Share {
  readonly id: number
  readonly share: number
}

/** The best `count` of scores, ties to the lower place. */
const bestOf = (scores: Vector, count: number): number[] =>
  scores
    .map((score, id) => ({ score, id }))
    .sort((a, b) => b.score - a.score || a.id - b.id)
    .slice(0, count)
    .map(({ id }) => id)

function gateShares(config: ReferenceConfig, tensors: ReferenceTensors, gate: string, logits: Vector): Share[] {
  const topK = Number(config.num_experts_per_tok)
  if (!tensors.has(`${gate}.e_score_correction_bias`)) {
    const exps = logits.map(Math.exp)
    const chosen = bestOf(logits, topK)
    const isOverChosen =
      ['mixtral', 'granitemoe', 'gpt_oss'].includes(config.model_type) || config.norm_topk_prob === true
    const total = (isOverChosen ? chosen.map((id) => Number(exps[id])) : exps).reduce((sum, v) => sum + v, 0)
    return chosen.map((id) => ({ id, share: Number(exps[id]) / total }))
  }
  const scores = logits.map(sigmoid)
  const corrected = plus(scores, Array.from(tensors.get(`${gate}.e_score_correction_bias`)))
  const groups = Number(config.n_group)
  const size = scores.length / groups
  const groupScores = Array.from({ length: groups }, (_, group) => {
    const [first = 0, second = 0] = corrected.slice(group * size, (group + 1) * size).sort((a, b) => b - a)
    return first + second
  })
  const open = bestOf(groupScores, Number(config.topk_group))
  const chosen = bestOf(
    corrected.map((score, id) => (open.includes(Math.floor(id / size)) ? score : -Infinity)),
    topK,
  )
  const total = config.norm_topk_prob === false ? 1 : chosen.reduce((sum, id) => sum + Number(scores[id]), 0)
  return chosen.map((id) => ({ id, share: (Number(scores[id]) / total) * Number(config.routed_scaling_factor) }))
}

type Expert = (config: ReferenceConfig, tensors: ReferenceTensors, p: string, id: number, x: Vector) => Vector

/** input_linear [experts, 2 · inner, hidden]: gate, then up. */
const graniteExpert: Expert = (config, tensors, p, id, x) => {
  const inner = config.intermediate_size
  const both = product(tensors.get(`${p}.input_linear.weight`), x, id * 2 * inner * x.length, 2 * inner)
  const active = both.slice(0, inner).map((v, i) => silu(v) * Number(both[inner + i]))
  return product(tensors.get(`${p}.output_linear.weight`), active, id * inner * x.length, x.length)
}

/** gate_up_proj [experts, hidden, 2 · inner]: columns of gate and up by turns. */
const clampedExpert: Expert = (config, tensors, p, id, x) => {
  const inner = config.intermediate_size
  const e = `${p}.experts`
  const biased = (name: string, y: Vector): Vector =>
    y.map((v, i) => v + Number(tensors.get(`${e}.${name}_bias`)[id * y.length + i]))
  const first = id * x.length * 2 * inner
  const both = biased('gate_up_proj', transposedProduct(tensors.get(`${e}.gate_up_proj`), x, first, 2 * inner))
  const limit = Number(config.swiglu_limit)
  const active = Array.from({ length: inner }, (_, i) => {
    const g = Math.min(Number(both[2 * i]), limit)
    const u = Math.max(-limit, Math.min(limit, Number(both[2 * i + 1])))
    return (u + 1) * g * sigmoid(1.702 * g)
  })
  return biased('down_proj', transposedProduct(tensors.get(`${e}.down_proj`), active, id * inner * x.length, x.length))
}
