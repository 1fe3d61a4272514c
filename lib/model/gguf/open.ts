// Opens a GGUF file, or the parts of one, as a model: configuration, tokenizer, template and defaults from its metadata, and where it holds
// what the family asks for.

import type { ModelSource } from '../model-source.js'
import { architectureOf, configOf } from './config.js'
import type { GgufFields } from './fields.js'
import { keyNamesOf } from './key-names.js'
import { locate } from './locate.js'
import { joined, openParts, readParts } from './parts.js'
import { tokenizerFilesOf } from './vocabulary.js'

/** Throws naming the file and the tensor or key that is wrong. */
export async function openGguf(path: string): Promise<ModelSource> {
  const headers = await readParts(path)
  const header = joined(headers)
  const { fields } = header
  const config = configOf(header)
  const architecture = architectureOf(header)
  const files = openParts(headers)
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
    files,
    locate: locate(architecture, { path, tensors: new Map(files.flatMap((file) => [...file.tensors])) }),
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
