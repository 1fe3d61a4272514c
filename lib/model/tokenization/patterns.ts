// Patterns of tokenizer files are written for Oniguruma; here they become regular expressions of JavaScript.

import { Tokenizer } from '@huggingface/tokenizers'
import { ClusterError } from '../../errors.js'
import type { Pattern } from './published.js'

/** What is used of the library, a splitter's expression; its own declarations do not resolve under Node's module resolution. */
type SplitterConstructor = new (
  tokenizer: object,
  config: object,
) => {
  readonly pre_tokenizer: { readonly pattern: RegExp | null }
}

const NOTHING_ELSE = {
  model: { type: 'BPE', vocab: {}, merges: [] },
  added_tokens: [],
  normalizer: null,
  post_processor: null,
  decoder: null,
}

/** A global expression that finds every match of the pattern. */
export function expressionOf({ text, regex }: Pattern): RegExp {
  if (text !== undefined) return new RegExp(text.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`), 'gu')
  try {
    const Splitter = Tokenizer as SplitterConstructor // see SplitterConstructor
    const step = { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false }
    const { pattern } = new Splitter({ ...NOTHING_ELSE, pre_tokenizer: step }, {}).pre_tokenizer
    if (pattern !== null) return pattern
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    throw new ClusterError('invalid_argument', `pattern ${JSON.stringify(regex)}: ${reason}`, { cause: error })
  }
  throw new ClusterError('invalid_argument', `pattern ${JSON.stringify(regex)}: cannot be read`)
}
