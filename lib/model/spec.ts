// What a checkpoint is, in family-neutral terms. A family file turns `config.json` into this; everything else
// (compute graphs, placement, memory estimates) reads this and never the family's own keys.

/** A matrix [out, in], row-major, with an optional bias [out]. */
export interface LinearRef {
  readonly weight: TensorRef
  readonly bias?: TensorRef
}

/** A tensor in the shape that the model uses, and where a checkpoint holds it. */
export interface TensorRef {
  readonly name: string // as published
  readonly shape: readonly number[]
  /** Which part of the published tensor it is; the whole of it, in that very shape, unless given. */
  readonly part?: TensorPart
  /** Every value is multiplied by `times`, then `plus` is added, when it is read. */
  readonly times?: number
  readonly plus?: number
}

/** A matrix [out, in] or a vector [size] inside a published tensor. */
export interface TensorPart {
  readonly stored: readonly number[] // shape of the published tensor
  /** Place on the leading axis, where the tensor holds several (fused experts). */
  readonly item?: number
  /** The published matrix is [in, out]. */
  readonly isTransposed?: boolean
  /** The published row (after transposing) that a row is; the same one, unless given. */
  readonly rowOf?: (row: number) => number
}

export interface RopeSpec {
  readonly theta: number
  /** Dimensions of a head that are rotated, its first ones; all, unless given. */
  readonly dims?: number
  readonly scaling: RopeScaling
}

/** How frequencies are stretched for long contexts; `attentionFactor` multiplies cosines and sines. */
export type RopeScaling =
  | { readonly type: 'default' }
  | { readonly type: 'linear'; readonly factor: number }
  | { readonly type: 'dynamic'; readonly factor: number; readonly originalMaxPosition: number }
  | {
      readonly type: 'yarn'
      readonly factor: number
      readonly originalMaxPosition: number
      readonly betaFast: number
      readonly betaSlow: number
      readonly isTruncated: boolean // whether the bounds of the ramp are whole dimensions
      readonly attentionFactor: number
    }
  | {
      readonly type: 'llama3'
      readonly factor: number
      readonly lowFreqFactor: number
      readonly highFreqFactor: number
      readonly originalMaxPosition: number
    }
  | { readonly type: 'factors'; readonly factors: Float32Array } // each frequency is divided by its own

interface AnyAttention {
  readonly numHeads: number
  readonly o: LinearRef // [hidden, what the heads give]
  readonly rope: RopeSpec
  /** Factor of the scores; 1 / √(width of a query), unless given. */
  readonly scale?: number
  /** Positions that a row sees, its own included; all up to its own, unless given. */
  readonly window?: number
  /** A logit per head [numHeads] that takes part in the softmax and carries no value. */
  readonly sinks?: TensorRef
}

/** Every `numHeads / numKvHeads` query heads share a key and a value head. */
export interface GroupedAttentionSpec extends AnyAttention {
  readonly kind: 'grouped'
  readonly numKvHeads: number // divides numHeads
  readonly headDim: number
  readonly q: LinearRef // [numHeads * headDim, hidden]
  readonly k: LinearRef // [numKvHeads * headDim, hidden]
  readonly v: LinearRef // [numKvHeads * headDim, hidden]
  /** RMS norm of q and k before the rotation: per head (weight [headDim]) or over the whole projection. */
  readonly qkNorm?: { readonly over: 'head' | 'projection'; readonly q: TensorRef; readonly k: TensorRef }
  /** q, k and v are clamped to ±clip after the q/k norm (OLMoE's `clip_qkv`). */
  readonly clip?: number
}

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values of all heads are made of one latent vector
 * per token, which is what the cache holds, beside one rotated key that all heads share. The rotated dimensions are the
 * halves of a pair apart, as in all other families.
 */
export interface LatentAttentionSpec extends AnyAttention {
  readonly kind: 'latent'
  readonly latentDim: number
  readonly plainDim: number // of a head's query and key that is not rotated
  readonly rotatedDim: number // even
  readonly valueDim: number // of a head
  /** Queries [numHeads * (plainDim + rotatedDim), hidden], or through a normed vector of lower rank. */
  readonly q: LinearRef | { readonly down: LinearRef; readonly norm: TensorRef; readonly up: LinearRef }
  readonly kvDown: LinearRef // [latentDim + rotatedDim, hidden]
  readonly latentNorm: TensorRef // [latentDim]
  readonly normEpsilon: number // of the norms of q's lower rank and of the latent vector
  readonly kvUp: LinearRef // [numHeads * (plainDim + valueDim), latentDim]
}

export type AttentionSpec = GroupedAttentionSpec | LatentAttentionSpec

/** What stands between the two products of a gated FFN. */
export type Activation =
  | { readonly type: 'silu' } // silu(gate) · up
  | { readonly type: 'gelu' } // gelu(gate) · up, the tanh approximation
  | { readonly type: 'clamped-swiglu'; readonly alpha: number; readonly limit: number }
// clamped-swiglu: g = min(gate, limit), u = clamp(up, ±limit): g · sigmoid(alpha · g) · (u + 1)

/** A gated FFN: down(activation(gate(x), up(x))). */
export interface FfnSpec {
  readonly intermediate: number
  readonly gate: LinearRef // [intermediate, hidden]
  readonly up: LinearRef // [intermediate, hidden]
  readonly down: LinearRef // [hidden, intermediate]
  readonly activation?: Activation // silu, unless given
}

export interface GateSpec {
  readonly weight: TensorRef // [numExperts, hidden]
  readonly bias?: TensorRef // [numExperts]
  readonly topK: number
  /** What weighs experts: a softmax over all, one over the chosen logits only, or each expert's own sigmoid. */
  readonly scores: 'softmax' | 'softmax-of-chosen' | 'sigmoid'
  /** Added to the scores for the choice alone (DeepSeek-V3): [numExperts]. */
  readonly correction?: TensorRef
  /** Experts come in `count` equal groups; only those of the best `chosen` groups can be chosen. */
  readonly groups?: { readonly count: number; readonly chosen: number }
  /** Divide the chosen weights by their sum. */
  readonly renormalise: boolean
  /** Factor of the weights, at last. */
  readonly scale?: number
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
  readonly attentionPostNorm?: TensorRef // [hidden]: of what attention gives, before it is added
  readonly ffnNorm: TensorRef // [hidden]
  readonly ffn: FfnLayerSpec
  readonly ffnPostNorm?: TensorRef // [hidden]: of what the experts give together, before it is added
}

export interface ModelSpec {
  readonly family: string // 'qwen3_moe', 'mixtral', …
  readonly hidden: number
  readonly vocabSize: number
  readonly maxPositions: number
  readonly normEpsilon: number
  readonly layers: readonly LayerSpec[]
  readonly embedding: TensorRef // [vocab, hidden]
  readonly finalNorm: TensorRef // [hidden]
  readonly lmHead: LinearRef // the embedding itself when tied
  readonly eosTokenIds: readonly number[]
  readonly bosTokenId?: number
}

/**
 * How weight matrices are stored in memory; gate, norms and embeddings are always float32. f16 is float16, computed with in
 * float32. Integers have a scale per block of 32, or (auto) per block of a size chosen for each matrix.
 */
export type WeightFormat = 'f32' | 'f16' | 'int8' | 'int4' | 'int8-auto' | 'int4-auto'

export const SILU: Activation = { type: 'silu' }
