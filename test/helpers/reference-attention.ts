// Attention of the slow float64 reference: plain, causal, every key and value made anew.

import type { ReferenceConfig } from './reference-model.js'
import { rotated, type Rope } from './reference-rope.js'
import { chunks, type ReferenceTensors, type Vector } from './reference-tensors.js'

/** What a position offers and asks for, head by head. */
interface Heads {
  readonly q: Vector[]
  readonly k: Vector[]
  readonly v: Vector[]
}

export function referenceAttention(
  config: ReferenceConfig,
  tensors: ReferenceTensors,
  layer: number,
  xs: readonly Vector[],
): Vector[] {
  const p = `model.layers.${layer}.self_attn`
  const isSliding = config.layer_types?.[layer] === 'sliding_attention'
  const ropes = config.rope_parameters as Readonly<Record<string, Rope | undefined>> // where layers have types
  const rope = ropes[isSliding ? 'sliding_attention' : 'full_attention'] ?? (config.rope_parameters as Rope) // where not
  const rotate = (x: Vector, position: number, dims: number): Vector =>
    rotated(x, position, dims, rope, config.max_position_embeddings)
  const isLatent = config.kv_lora_rank !== undefined
  const headsOf = isLatent ? latentHeads(config, tensors, p, rotate) : groupedHeads(config, tensors, p, rotate)
  const all = xs.map((x, position) => headsOf(x, position))
  const window = windowOf(config, isSliding)
  const scale = isLatent ? latentScale(config, rope) : scaleOf(config)
  const sinks = tensors.has(`${p}.sinks`) ? tensors.get(`${p}.sinks`) : undefined
  return all.map(({ q }, t) => {
    const out = q.flatMap((query, h) => {
      const first = Math.max(0, t - window + 1)
      const seen = all.slice(first, t + 1)
      const kv = Math.floor(h / (q.length / Number(all[0]?.k.length)))
      const scores = seen.map(({ k }) => query.reduce((sum, v, i) => sum + v * Number(k[kv]?.[i]), 0) * scale)
      const exps = scores.map(Math.exp)
      const total = exps.reduce((sum, v) => sum + v, sinks === undefined ? 0 : Math.exp(Number(sinks[h])))
      const width = Number(seen[0]?.v[kv]?.length)
      return Array.from({ length: width }, (_, i) =>
        exps.reduce((sum, e, s) => sum + (e / total) * Number(seen[s]?.v[kv]?.[i]), 0),
      )
    })
    return tensors.linear(`${p}.o_proj`, out)
  })
}

type Rotate = (x: Vector, position: number, dims: number) => Vector

function groupedHeads(config: ReferenceConfig, tensors: ReferenceTensors, p: string, rotate: Rotate) {
  const { head_dim: headDim, rms_norm_eps: epsilon } = config
  const dims = headDim * (config.partial_rotary_factor ?? 1)
  const clip = (x: Vector): Vector => {
    const limit = config.clip_qkv
    return limit === undefined || limit === null ? x : x.map((v) => Math.min(limit, Math.max(-limit, v)))
  }
  const project = (which: 'q' | 'k', x: Vector, position: number): Vector[] => {
    const name = `${p}.${which}_norm`
    const raw = tensors.linear(`${p}.${which}_proj`, x)
    const hasNorm = tensors.has(`${name}.weight`)
    const isWhole = config.model_type === 'olmoe'
    const normed = hasNorm && isWhole ? tensors.norm(name, raw, epsilon) : raw
    return chunks(normed, headDim)
      .map((head) => (hasNorm && !isWhole ? tensors.norm(name, head, epsilon) : head))
      .map((head) => rotate(clip(head), position, dims))
  }
  return (x: Vector, position: number): Heads => ({
    q: project('q', x, position),
    k: project('k', x, position),
    v: chunks(clip(tensors.linear(`${p}.v_proj`, x)), headDim),
  })
}

function latentHeads(config: ReferenceConfig, tensors: ReferenceTensors, p: string, rotate: Rotate) {
  const number = (key: 'kv_lora_rank' | 'qk_nope_head_dim' | 'qk_rope_head_dim' | 'v_head_dim'): number =>
    Number(config[key])
  const [rank, plain, dims] = [number('kv_lora_rank'), number('qk_nope_head_dim'), number('qk_rope_head_dim')]
  const epsilon = 1e-6
  /** Pairs side by side become halves apart. */
  const turn = (x: Vector, position: number): Vector => {
    const even = x.filter((_, i) => i % 2 === 0)
    const odd = x.filter((_, i) => i % 2 === 1)
    return rotate(config.rope_interleave === false ? x : [...even, ...odd], position, dims)
  }
  return (x: Vector, position: number): Heads => {
    const hasRank = config.q_lora_rank !== undefined && config.q_lora_rank !== null
    const queries = hasRank
      ? tensors.linear(`${p}.q_b_proj`, tensors.norm(`${p}.q_a_layernorm`, tensors.linear(`${p}.q_a_proj`, x), epsilon))
      : tensors.linear(`${p}.q_proj`, x)
    const down = tensors.linear(`${p}.kv_a_proj_with_mqa`, x)
    const latent = tensors.norm(`${p}.kv_a_layernorm`, down.slice(0, rank), epsilon)
    const shared = turn(down.slice(rank), position)
    const up = chunks(tensors.linear(`${p}.kv_b_proj`, latent), plain + number('v_head_dim'))
    return {
      q: chunks(queries, plain + dims).map((q) => [...q.slice(0, plain), ...turn(q.slice(plain), position)]),
      k: up.map((head) => [...head.slice(0, plain), ...shared]),
      v: up.map((head) => head.slice(plain)),
    }
  }
}

function windowOf(config: ReferenceConfig, isSliding: boolean): number {
  const window = config.sliding_window ?? Infinity
  if (config.model_type === 'mistral' || config.model_type === 'mixtral') return window
  if (config.model_type === 'qwen3_moe') return config.use_sliding_window === true ? window : Infinity
  return isSliding ? window : Infinity
}

const scaleOf = (config: ReferenceConfig): number =>
  config.attention_multiplier ?? 1 / Math.sqrt(config.query_pre_attn_scalar ?? config.head_dim)

function latentScale(config: ReferenceConfig, rope: Rope): number {
  const factor =
    rope.mscale_all_dim === undefined ? 1 : 0.1 * Number(rope.mscale_all_dim) * Math.log(Number(rope.factor)) + 1
  return factor ** 2 / Math.sqrt(Number(config.qk_nope_head_dim) + Number(config.qk_rope_head_dim))
}
