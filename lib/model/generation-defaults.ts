// `generation_config.json`: what absent sampling fields take. Where the file has none, the neutral values.

import { ClusterError } from '../errors.js'
import { eosOf } from './config-fields.js'
import { shown } from './shown.js'

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
  const refuse = (key: string, wanted: string): never => {
    throw new ClusterError('invalid_argument', `${path}: ${key}: want ${wanted}, got ${shown(config[key])}`)
  }
  const number = (key: string, fallback: number, wanted: string, isRight: (value: number) => boolean): number => {
    const value = config[key] ?? fallback
    return typeof value === 'number' && Number.isFinite(value) && isRight(value) ? value : refuse(key, wanted)
  }
  return {
    temperature: number('temperature', NEUTRAL.temperature, 'a number from 0 to 100', (t) => t >= 0 && t <= 100),
    topP: number('top_p', NEUTRAL.topP, 'a number above 0 to 1', (p) => p > 0 && p <= 1),
    topK: number('top_k', NEUTRAL.topK, 'an integer of at least -1', (k) => Number.isSafeInteger(k) && k >= -1),
    minP: number('min_p', NEUTRAL.minP, 'a number from 0 to 1', (p) => p >= 0 && p <= 1),
    repetitionPenalty: number(
      'repetition_penalty',
      NEUTRAL.repetitionPenalty,
      'a number above 0 to 100',
      (penalty) => penalty > 0 && penalty <= 100,
    ),
    eosTokenIds: eosOf(config.eos_token_id) ?? refuse('eos_token_id', 'an id or a list of ids'),
  }
}
