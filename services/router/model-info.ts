// What a client can learn about the served model.

import type { ModelOptions } from '../../lib/config/service.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { modelName } from '../../lib/model/model-name.js'
import type { ModelInfo } from './engine.js'

/** The model's id is the name of its folder. */
export function modelInfo(checkpoint: Checkpoint, options: ModelOptions): ModelInfo {
  const { spec } = checkpoint
  const moe = spec.layers.find((layer) => layer.ffn.gate !== undefined)?.ffn
  return {
    id: modelName(options.path),
    family: spec.family,
    createdUnixMs: checkpoint.createdUnixMs,
    maxPositions: spec.maxPositions,
    vocabSize: spec.vocabSize,
    numLayers: spec.layers.length,
    hidden: spec.hidden,
    numExperts: moe?.experts.length ?? 0,
    expertsPerToken: moe?.gate?.topK ?? 0,
    eosTokenIds: spec.eosTokenIds,
    weightFormat: options.weights,
    hasTokenizer: checkpoint.tokenizer !== undefined,
    hasChatTemplate: checkpoint.chatTemplate !== undefined,
  }
}
