// `generation_config.json`: what absent sampling fields take. Where the file has none, the neutral values.

import { ClusterError } from '../errors.js'
import { eosOf } from './config-fields.js'

export interface GenerationDefaults {
  readonly temperature: number
  readonly topP: number
  readonly topK: number
  readonly minP: number
  readonly repetitionPenalty: number
  readonly eosTokenIds: readonly number[]
}

const NEUTRAL: GenerationDefaults = { temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1, eosTokenIds: [] }

/** `path` is named in errors. */
export function generationDefaults(config: Readonly<Record<string, unknown>>, path: string): GenerationDefaults {
  const number = (key: string, fallback: number): number => {
    const value = config[key]
    if (value === undefined || value === null) return fallback
    if (typeof value === 'number' && Number.isFinite(value)) return value
    throw new ClusterError('invalid_argument', `${path}: ${key}: want a number, got ${JSON.stringify(value)}`)
  }
  return {
    temperature: number('temperature', NEUTRAL.temperature),
    topP: number('top_p', NEUTRAL.topP),
    topK: number('top_k', NEUTRAL.topK),
    minP: number('min_p', NEUTRAL.minP),
    repetitionPenalty: number('repetition_penalty', NEUTRAL.repetitionPenalty),
    eosTokenIds: eosOf(config.eos_token_id),
  }
}
