// Opens a GGUF file as a model: configuration, tokenizer, template and defaults from its metadata, and where it holds
// what the family asks for.

import { ClusterError } from '../../errors.js'
import type { ModelSource } from '../model-source.js'
import { architectureOf, configOf } from './config.js'
import type { GgufFields } from './fields.js'
import { openGgufFile } from './file.js'
import { readGgufHeader } from './header.js'
import { keyNamesOf } from './key-names.js'
import { locate } from './locate.js'
import { tokenizerFilesOf } from './vocabulary.js'

/** Throws naming the file and the tensor or key that is wrong. */
export async function openGguf(path: string): Promise<ModelSource> {
  const header = await readGgufHeader(path)
  const { fields } = header
  if (fields.count('split.count', 1) > 1)
    throw new ClusterError(
      'unimplemented',
      `${path}: split.count: want one file, got a part of several; merge them first`,
    )
  const config = configOf(header)
  const architecture = architectureOf(header)
  const file = openGgufFile(header)
  return {
    path,
    config,
    configPath: path,
    keyNames: keyNamesOf(header),
    configText: JSON.stringify(config),
    generationConfig: samplingOf(fields),
    hasWeights: true,
    readTexts: () => {
      const tokenizer = tokenizerFilesOf(path, fields)
      return { tokenizer, chatTemplate: tokenizer && fields.has(TEMPLATE) ? fields.text(TEMPLATE) : undefined }
    },
    files: [file],
    locate: locate(architecture, file),
  }
}

const TEMPLATE = 'tokenizer.chat_template'

const SAMPLING = {
  temperature: 'temp',
  top_k: 'top_k',
  top_p: 'top_p',
  min_p: 'min_p',
  repetition_penalty: 'penalty_repeat',
}

/** Recommended sampling, as generation_config.json says it. */
const samplingOf = (fields: GgufFields): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(SAMPLING).flatMap(([name, ending]) => {
      const key = `general.sampling.${ending}`
      return fields.has(key) ? [[name, fields.number(key)] as const] : []
    }),
  )
