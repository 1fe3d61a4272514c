// A slow reference in float64 that shares no code with the product: it reads tensors by their published names and
// computes plain causal attention and FFNs with loops. For judging configurations that the goldens do not have.

export interface ReferenceConfig {
  readonly model_type: string
  readonly hidden_size: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly head_dim: number
  readonly num_hidden_layers: number
  readonly vocab_size: number
  readonly rms_norm_eps: number
  readonly num_experts?: number
  readonly num_experts_per_tok?: number
  readonly norm_topk_prob?: boolean
  readonly mlp_only_layers?: readonly number[]
  readonly decoder_sparse_step?: number
  readonly clip_qkv?: number | null
  readonly tie_word_embeddings?: boolean
  readonly rope_parameters: Readonly<Record<string, number | string>>
}

export type Weights = ReadonlyMap<string, { readonly data: ArrayLike<number>; readonly shape: readonly number[] }>

type Vector = number[]

export function referenceLogits(config: ReferenceConfig, weights: Weights, tokens: readonly number[]): number[][] {
  const get = (name: string): ArrayLike<number> => {
    const found = weights.get(name)
    if (found === undefined) throw new Error(`reference: no tensor ${name}`)
    return found.data
  }
  const linear = (name: string, x: Vector): Vector => {
    const w = get(`${name}.weight`)
    const bias = weights.get(`${name}.bias`)?.data
    const outputs = w.length / x.length
    return Array.from({ length: outputs }, (_, o) => {
      let sum = bias === undefined ? 0 : Number(bias[o])
      for (let i = 0; i < x.length; i++) sum += Number(w[o * x.length + i]) * Number(x[i])
      return sum
    })
  }
  const norm = (name: string, x: Vector): Vector => {
    const w = get(`${name}.weight`)
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + config.rms_norm_eps)
    return x.map((v, i) => v * scale * Number(w[i]))
  }
  const frequencies = ropeFrequencies(config)
  const rotate = (x: Vector, position: number): Vector => {
    const half = x.length / 2
    return x.map((v, i) => {
      const angle = position * Number(frequencies[i % half])
      const other = i < half ? -Number(x[i + half]) : Number(x[i - half])
      return v * Math.cos(angle) + other * Math.sin(angle)
    })
  }
  const clip = (x: Vector): Vector => {
    const limit = config.clip_qkv
    return limit === undefined || limit === null ? x : x.map((v) => Math.min(limit, Math.max(-limit, v)))
  }
  const heads = (x: Vector): Vector[] =>
    Array.from({ length: x.length / config.head_dim }, (_, h) =>
      x.slice(h * config.head_dim, (h + 1) * config.head_dim),
    )
  const ffn = (prefix: string, x: Vector, [gate, up, down]: readonly [string, string, string]): Vector => {
    const g = linear(`${prefix}.${gate}`, x)
    const u = linear(`${prefix}.${up}`, x)
    return linear(
      `${prefix}.${down}`,
      g.map((v, i) => (v / (1 + Math.exp(-v))) * Number(u[i])),
    )
  }

  const attention = (layer: number, xs: readonly Vector[]): Vector[] => {
    const p = `model.layers.${layer}.self_attn`
    const project = (which: 'q' | 'k', x: Vector, position: number): Vector[] => {
      const raw = linear(`${p}.${which}_proj`, x)
      const hasNorm = weights.has(`${p}.${which}_norm.weight`)
      const perHead =
        weights.get(`${p}.${which}_norm.weight`)?.data.length === config.head_dim && config.model_type !== 'olmoe'
      const normed = hasNorm && !perHead ? norm(`${p}.${which}_norm`, raw) : raw
      const split = heads(normed).map((head) => (hasNorm && perHead ? norm(`${p}.${which}_norm`, head) : head))
      return split.map((head) => rotate(clip(head), position))
    }
    const keys = xs.map((x, t) => project('k', x, t))
    const values = xs.map((x) => heads(clip(linear(`${p}.v_proj`, x))))
    const group = config.num_attention_heads / config.num_key_value_heads
    return xs.map((x, t) => {
      const out = project('q', x, t).map((q, h) => {
        const kv = Math.floor(h / group)
        const scores = Array.from(
          { length: t + 1 },
          (_, s) => q.reduce((sum, v, i) => sum + v * Number(keys[s]?.[kv]?.[i]), 0) / Math.sqrt(config.head_dim),
        )
        const max = Math.max(...scores)
        const exps = scores.map((score) => Math.exp(score - max))
        const total = exps.reduce((sum, v) => sum + v, 0)
        return q.map((_, i) => exps.reduce((sum, e, s) => sum + (e / total) * Number(values[s]?.[kv]?.[i]), 0))
      })
      return linear(`${p}.o_proj`, out.flat())
    })
  }

  const mlp = (layer: number, x: Vector): Vector => {
    const isMixtral = config.model_type === 'mixtral'
    const p = `model.layers.${layer}.${isMixtral ? 'block_sparse_moe' : 'mlp'}`
    const names = isMixtral ? (['w1', 'w3', 'w2'] as const) : (['gate_proj', 'up_proj', 'down_proj'] as const)
    const isSparse =
      (config.num_experts ?? 0) > 0 &&
      !(config.mlp_only_layers ?? []).includes(layer) &&
      (layer + 1) % (config.decoder_sparse_step ?? 1) === 0
    if (!isSparse) return ffn(p, x, names)
    const logits = linear(`${p}.gate`, x)
    const chosen = logits
      .map((logit, expert) => ({ logit, expert }))
      .sort((a, b) => b.logit - a.logit || a.expert - b.expert)
      .slice(0, config.num_experts_per_tok)
    const max = Math.max(...logits)
    const exps = chosen.map(({ logit }) => Math.exp(logit - max))
    const overChosen = exps.reduce((sum, v) => sum + v, 0)
    const overAll = logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0)
    const total = isMixtral || config.norm_topk_prob === true ? overChosen : overAll
    const result = new Array<number>(x.length).fill(0)
    chosen.forEach(({ expert }, i) => {
      const y = ffn(`${p}.experts.${expert}`, x, names)
      y.forEach((v, at) => (result[at] = Number(result[at]) + (Number(exps[i]) / total) * v))
    })
    if (weights.has(`${p}.shared_expert_gate.weight`)) {
      const share = 1 / (1 + Math.exp(-Number(linear(`${p}.shared_expert_gate`, x)[0])))
      ffn(`${p}.shared_expert`, x, names).forEach((v, at) => (result[at] = Number(result[at]) + share * v))
    }
    return result
  }

  const embedding = get('model.embed_tokens.weight')
  const { hidden_size: width } = config
  const plus = (a: Vector, b: Vector | undefined): Vector => a.map((v, i) => v + Number(b?.[i]))
  let xs: Vector[] = tokens.map((token) =>
    Array.from({ length: width }, (_, i) => Number(embedding[token * width + i])),
  )
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const attended = attention(
      layer,
      xs.map((x) => norm(`model.layers.${layer}.input_layernorm`, x)),
    )
    xs = xs.map((x, t) => plus(x, attended[t]))
    xs = xs.map((x) => plus(x, mlp(layer, norm(`model.layers.${layer}.post_attention_layernorm`, x))))
  }
  const head = config.tie_word_embeddings === true ? 'model.embed_tokens' : 'lm_head'
  return xs.map((x) => linear(head, norm('model.norm', x)))
}

function ropeFrequencies({ head_dim: headDim, rope_parameters: rope }: ReferenceConfig): number[] {
  return Array.from({ length: headDim / 2 }, (_, i) => {
    const f = 1 / Number(rope.rope_theta) ** ((2 * i) / headDim)
    if (rope.rope_type !== 'llama3') return f
    const wavelength = (2 * Math.PI) / f
    const original = Number(rope.original_max_position_embeddings)
    const low = original / Number(rope.low_freq_factor)
    const high = original / Number(rope.high_freq_factor)
    if (wavelength < high) return f
    if (wavelength > low) return f / Number(rope.factor)
    const smooth =
      (original / wavelength - Number(rope.low_freq_factor)) /
      (Number(rope.high_freq_factor) - Number(rope.low_freq_factor))
    return ((1 - smooth) * f) / Number(rope.factor) + smooth * f
  })
}
