// What a checkpoint is, in family-neutral terms. A family file turns `config.json` into this; everything else
// (compute graphs, placement, memory estimates) reads this and never the family's own keys.

/** A matrix as published: [out, in], row-major, with an optional bias [out]. */
export interface LinearRef {
  readonly weight: TensorRef
  readonly bias?: TensorRef
}

/** A named tensor with the shape that the configuration asks for. */
export interface TensorRef {
  readonly name: string
  readonly shape: readonly number[]
}

export interface RopeSpec {
  readonly theta: number
  readonly scaling:
    | { readonly type: 'default' }
    | {
        readonly type: 'llama3'
        readonly factor: number
        readonly lowFreqFactor: number
        readonly highFreqFactor: number
        readonly originalMaxPosition: number
      }
}

export interface AttentionSpec {
  readonly numHeads: number
  readonly numKvHeads: number // divides numHeads
  readonly headDim: number
  readonly q: LinearRef // [numHeads * headDim, hidden]
  readonly k: LinearRef // [numKvHeads * headDim, hidden]
  readonly v: LinearRef // [numKvHeads * headDim, hidden]
  readonly o: LinearRef // [hidden, numHeads * headDim]
  /** RMS norm of q and k before the rotation: per head (weight [headDim]) or over the whole projection. */
  readonly qkNorm?: { readonly over: 'head' | 'projection'; readonly q: TensorRef; readonly k: TensorRef }
  /** q, k and v are clamped to ±clip after the q/k norm (OLMoE's `clip_qkv`). */
  readonly clip?: number
}

/** A gated FFN: down(silu(gate(x)) * up(x)). */
export interface FfnSpec {
  readonly intermediate: number
  readonly gate: LinearRef // [intermediate, hidden]
  readonly up: LinearRef // [intermediate, hidden]
  readonly down: LinearRef // [hidden, intermediate]
}

export interface GateSpec {
  readonly weight: TensorRef // [numExperts, hidden]
  readonly topK: number
  /** `all`: softmax over every expert, then choose. `chosen`: softmax over the chosen logits only. */
  readonly softmaxOver: 'all' | 'chosen'
  /** Divide the chosen weights by their sum (only meaningful with `all`). */
  readonly renormalise: boolean
}

/**
 * The FFN half of a layer as a list of experts. Ids 0 … experts.length-1 are routed by `gate`; an always-active
 * expert (a dense FFN or a shared expert) has the id experts.length and the weight 1, or sigmoid(x · sharedGate).
 */
export interface FfnLayerSpec {
  readonly experts: readonly FfnSpec[]
  readonly gate?: GateSpec // present exactly when experts is not empty
  readonly always?: { readonly ffn: FfnSpec; readonly sigmoidGate?: TensorRef } // sigmoidGate: [1, hidden]
}

export interface LayerSpec {
  readonly attentionNorm: TensorRef // [hidden]
  readonly attention: AttentionSpec
  readonly ffnNorm: TensorRef // [hidden]
  readonly ffn: FfnLayerSpec
}

export interface ModelSpec {
  readonly family: string // 'qwen3_moe', 'mixtral', …
  readonly hidden: number
  readonly vocabSize: number
  readonly maxPositions: number
  readonly normEpsilon: number
  readonly rope: RopeSpec
  readonly layers: readonly LayerSpec[]
  readonly embedding: TensorRef // [vocab, hidden]
  readonly finalNorm: TensorRef // [hidden]
  readonly lmHead: LinearRef // the embedding itself when tied
  readonly eosTokenIds: readonly number[]
  readonly bosTokenId?: number
}

/** How weight matrices are stored in memory; gate, norms and embeddings are always float32. */
export type WeightFormat = 'f32' | 'int8' | 'int4'
