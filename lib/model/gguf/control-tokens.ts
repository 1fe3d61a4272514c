// Ids of a GGUF file's vocabulary that control generation: what ends a text, and how many there are.

import type { GgufFields } from './fields.js'
import type { GgufHeader } from './header.js'

export const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

/** Texts that end a turn, where a file does not name their ids: llama.cpp stops at them too. */
const TURN_ENDS = new Set(['<|eot_id|>', '<|im_end|>', '<end_of_turn>', '<|return|>', '<|call|>'])
const END_KEYS = ['eos', 'eot', 'eom'].map((name) => `tokenizer.ggml.${name}_token_id`)

/** Ids that end a text. */
export function eosIds({ fields }: GgufHeader): readonly number[] {
  const named = END_KEYS.flatMap((key) => (fields.has(key) ? [fields.count(key)] : []))
  if (!fields.has('tokenizer.ggml.tokens') || !fields.has('tokenizer.ggml.token_type')) return named
  const types = fields.numbers('tokenizer.ggml.token_type')
  const ends = fields
    .texts('tokenizer.ggml.tokens')
    .flatMap((text, id) => (types[id] === TOKEN_TYPES.control && TURN_ENDS.has(text) ? [id] : []))
  return [...new Set([...named, ...ends])]
}

/** Size of the vocabulary: as the file says, or what its embedding has. */
export function vocabSizeOf(fields: GgufFields, tensors: GgufHeader['tensors']): number {
  const rows = tensors.get('token_embd.weight')?.shape[0] ?? 0
  return fields.count(`${fields.text('general.architecture')}.vocab_size`, rows)
}
