// `banyan export gguf MODEL`: the same weights as a file for llama.cpp.

import { existsSync, statSync } from 'node:fs'
import { openModel } from '../../lib/model/checkpoint.js'
import { GGUF_WEIGHTS, ggufOf, type GgufWeights } from '../../lib/model/gguf/export.js'
import { writeGguf } from '../../lib/model/gguf/writer.js'
import type { Flags } from '../cluster-flags.js'
import { watchSignals } from '../interruption.js'
import { usageError } from '../report-error.js'
import { createProgress, notify, print, printJson } from '../terminal.js'

const NO_TEXT = 'no byte-level BPE tokenizer: the file serves token ids, its texts are invented'

/** Writes the file of `--out`, under its name only when it is whole. */
export async function exportGguf(model: string, { out, weights = 'int8', json }: Flags): Promise<number> {
  if (typeof out !== 'string') throw usageError('export gguf: want --out FILE, found none')
  if (!isWeights(weights))
    throw usageError(`--weights: want one of ${Object.keys(GGUF_WEIGHTS).join(', ')}, found ${JSON.stringify(weights)}`)
  if (existsSync(out) && !statSync(out).isFile()) throw usageError(`--out: want a file, found ${out}, which is none`)
  if (model.endsWith('.gguf'))
    throw usageError(`export gguf: want a model folder, found ${model}, which is one already`)
  const { signal } = watchSignals(process, () => Date.now())
  const checkpoint = await openModel(model)
  try {
    const content = ggufOf(checkpoint, weights)
    const tensors = content.tensors.length
    if (content.isVocabularyInvented) notify(NO_TEXT)
    const progress = createProgress('tensors', tensors)
    const written = writeGguf(out, content, { signal, onTensor: () => progress.step() })
    const sizeBytes = await written.finally(() => progress.stop())
    if (json === true) printJson({ file: out, sizeBytes, tensors })
    else print(`${out}: ${tensors} tensors, ${(sizeBytes / 1e6).toFixed(1)} MB`)
    return 0
  } finally {
    checkpoint.close()
  }
}

const isWeights = (word: unknown): word is GgufWeights => typeof word === 'string' && Object.hasOwn(GGUF_WEIGHTS, word)
