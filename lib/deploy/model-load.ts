// What one step of a model reads and computes, layer by layer: the cost model's view of a configuration.

import { roundedBlocks } from '../compute/tiles.js'
import { shardPlan } from '../model/expert-shards.js'
import { attentionLinears } from '../model/attention-parts.js'
import { attentionFormat } from '../model/weight-formats.js'
import { attentionBytes, ffnLinears, linearBytes, linearValues, modelSizes } from '../model/sizes.js'
import type { KvFormat } from '../model/kv-formats.js'
import type { FfnSpec, LayerSpec, ModelSpec, WeightFormat } from '../model/spec.js'

/** Weights as bytes that are read and values that are multiplied. */
export interface Weights {
  readonly bytes: number
  readonly values: number
}

/** Layers that cost the same. */
export interface LayerLoad {
  readonly count: number
  readonly attention: Weights
  readonly expert: Weights // one routed expert
  readonly always: Weights // the expert that every row takes
  readonly numExperts: number // routed, 0 in a dense layer
  readonly topK: number
}

export interface ModelLoad {
  readonly layers: readonly LayerLoad[]
  readonly numLayers: number
  readonly head: Weights
  readonly numShards: number
  readonly rowBytes: number // a row on its way to experts
  readonly sumBytes: number // a shard's partial sum of a row, float32
  readonly kvBytesPerToken: number // of all layers
  readonly weights: WeightFormat
}

const NOTHING: Weights = { bytes: 0, values: 0 }
const Q16_BYTES = 2.25 // 16 bits and a float32 scale per 32 values, twice (docs/decisions/0009)

export function modelLoad(spec: ModelSpec, weights: WeightFormat, kvFormat?: KvFormat): ModelLoad {
  const kinds = new Map<string, LayerLoad>()
  for (const layer of spec.layers) {
    const load = layerLoad(layer, weights)
    const kind = JSON.stringify(load)
    kinds.set(kind, { ...load, count: (kinds.get(kind)?.count ?? 0) + 1 })
  }
  const isRounded = roundedBlocks(spec.hidden, weights) > 0
  return {
    layers: [...kinds.values()],
    numLayers: spec.layers.length,
    head: { bytes: linearBytes([spec.lmHead], attentionFormat(weights)), values: linearValues([spec.lmHead]) },
    numShards: shardPlan(spec).numShards,
    rowBytes: spec.hidden * (isRounded ? Q16_BYTES : 4),
    sumBytes: spec.hidden * 4,
    kvBytesPerToken: modelSizes(spec, weights, kvFormat).kvPerToken,
    weights,
  }
}

function layerLoad(layer: LayerSpec, format: WeightFormat): LayerLoad {
  const weightsOf = (ffn: FfnSpec | undefined): Weights =>
    ffn === undefined ? NOTHING : { bytes: linearBytes(ffnLinears(ffn), format), values: linearValues(ffnLinears(ffn)) }
  const { experts, gate, always } = layer.ffn
  return {
    count: 0,
    attention: { bytes: attentionBytes(layer, format), values: linearValues(attentionLinears(layer.attention)) },
    expert: weightsOf(experts[0]),
    always: weightsOf(always?.ffn),
    numExperts: experts.length,
    topK: gate?.topK ?? 0,
  }
}
