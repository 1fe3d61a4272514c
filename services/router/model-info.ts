// What a client can learn about the served model.

import type { ModelOptions } from '../../lib/config/service.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { modelName } from '../../lib/model/model-name.js'
import type { ModelInfo, TokenRange } from './engine.js'

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
    reservedTokens: reservedOf(checkpoint),
    weightFormat: options.weights,
    hasTokenizer: checkpoint.tokenizer !== undefined,
    hasChatTemplate: checkpoint.chatTemplate !== undefined,
  }
}

/** Without a tokenizer only what ends a text is known to mean something. */
function reservedOf({ spec, tokenizer }: Checkpoint): readonly TokenRange[] {
  const ends = new Set(spec.eosTokenIds)
  const ranges: { first: number; last: number }[] = []
  for (let token = 0; token < spec.vocabSize; token++) {
    if (!ends.has(token) && tokenizer?.isPlain(token) !== false) continue
    const before = ranges.at(-1)
    if (before?.last === token - 1) before.last = token
    else ranges.push({ first: token, last: token })
  }
  return ranges
}
