// The golden model with a vocabulary of its own, so that its tokens are text: stop strings need some.

import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { goldenModel } from '../helpers/paths.js'

const FILES = ['config.json', 'generation_config.json', 'model.safetensors']
const FAMILY = 'qwen3-moe'

export const VOCAB_SIZE = 320
export const LETTERS = 'abcdefgh'

/** Three letters of eight. */
const textOf = (token: number): string =>
  [token >> 6, (token >> 3) % 8, token % 8].map((letter) => LETTERS[letter]).join('')

/** Makes the folder; whoever asked for it removes it. */
export function makeModelFolder(folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const file of FILES) cpSync(join(goldenModel(FAMILY), file), join(folder, file))
  const vocab = Object.fromEntries(Array.from({ length: VOCAB_SIZE }, (_, token) => [textOf(token), token]))
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const tokenizer = { model: { type: 'BPE', vocab, merges: [] }, pre_tokenizer: byteLevel, decoder: byteLevel }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer))
}
