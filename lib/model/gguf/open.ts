// Opens a GGUF file as a model: configuration, tokenizer and template from its metadata, tensors under the names that
// the families know.

import { ClusterError } from '../../errors.js'
import type { ModelSource } from '../model-source.js'

/** Throws `unimplemented`: GGUF files are not read by this version yet. */
export function openGguf(path: string): Promise<ModelSource> {
  return Promise.reject(
    new ClusterError('unimplemented', `${path}: GGUF files are not served by this version; use a safetensors folder`),
  )
}
