// The families that are served: one line each.

import { ClusterError } from '../../errors.js'
import { absentOf, configFields, type KeyNames } from '../config-fields.js'
import { shown } from '../shown.js'
import type { ModelSpec } from '../spec.js'
import type { Family } from './family.js'
import { deepseekV3 } from './deepseek-v3.js'
import { gemma3, gemma3Conditional } from './gemma3.js'
import { glm4Moe } from './glm4-moe.js'
import { gptOss } from './gpt-oss.js'
import { graniteMoe } from './granitemoe.js'
import { llama } from './llama.js'
import { mistral } from './mistral.js'
import { mixtral } from './mixtral.js'
import { olmoe } from './olmoe.js'
import { qwen2 } from './qwen2.js'
import { qwen2Moe } from './qwen2-moe.js'
import { qwen3Moe } from './qwen3-moe.js'
import { qwen3 } from './qwen3.js'

export const FAMILIES: readonly Family[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma3,
  gemma3Conditional,
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  graniteMoe,
  gptOss,
  deepseekV3,
  glm4Moe,
]

const SIZES = /(_size|_heads|_dim|_rank|hidden_layers|_experts|_replace)$/

/** Sizes that a configuration leaves to its family, to be said where a tensor contradicts them: a text, or none. */
export function sizesLeftOut(config: Readonly<Record<string, unknown>>): string {
  const family = familyOf(config)
  const left = Object.entries(absentOf(config, family?.defaults ?? {})).filter(([key]) => SIZES.test(key))
  return left.length === 0
    ? ''
    : ` (left out there: ${left.map(([key, value]) => `${key}, so ${String(value)}`).join('; ')})`
}

const namesOf = ({ architectures }: Readonly<Record<string, unknown>>): readonly unknown[] =>
  Array.isArray(architectures) ? (architectures as unknown[]) : [] // items are compared, not used

const familyOf = (config: Readonly<Record<string, unknown>>): Family | undefined =>
  FAMILIES.find(({ architecture }) => namesOf(config).includes(architecture))

/**
 * The spec of a parsed `config.json`, whose keys may have other names in the file that it was made of. Throws `invalid_argument` naming the key, or `unimplemented`
 * naming the family.
 */
export function specOf(config: Readonly<Record<string, unknown>>, path: string, names?: KeyNames): ModelSpec {
  const family = familyOf(config)
  if (family === undefined) {
    const known = FAMILIES.map(({ architecture }) => architecture).join(', ')
    throw new ClusterError(
      'unimplemented',
      `${path}: architectures: want one of ${known}, got ${shown(config.architectures)}`,
    )
  }
  return family.spec(configFields(config, path, { defaults: family.defaults, names }))
}
