// Bailian's (Qwen) usage traces: JSON lines of seconds, lengths, and one id per 16 tokens of prompt; a chat names the
// chat before it, so a session is the chain back to its root.

import { blocksPrompt } from './block-names.js'
import { count, list, optionalId, parseRow, rowWith, shown, time } from './fields.js'
import { BadItem, type Item, type RawRequest, type Reader, type ReaderOptions, type TraceFormat } from './format.js'

const BLOCK_TOKENS = 16
const MS_PER_SECOND = 1000
const NO_PARENT = '-1'

function createReader({ blockTokens = BLOCK_TOKENS }: ReaderOptions): Reader {
  const roots = new Map<string, string>() // of every chat seen

  const read = (item: Item): readonly RawRequest[] => {
    const row = parseRow(item)
    const id = optionalId(row, 'chat_id')
    if (id === undefined) throw new BadItem(`chat_id: want an id, found ${shown(row.chat_id)}`)
    const parent = optionalId(row, 'parent_chat_id') ?? NO_PARENT
    const timeMs = time(row, 'timestamp') * MS_PER_SECOND
    const numTokens = count(row, 'input_length')
    const outputTokens = count(row, 'output_length')
    const ids = row.hash_ids === undefined ? [] : list(row, 'hash_ids')
    const prompt = blocksPrompt('hash_ids', ids, { numTokens, blockTokens })
    const session = parent === NO_PARENT ? id : (roots.get(parent) ?? parent)
    roots.set(id, session)
    return [{ id, timeMs, prompt, outputTokens, sampling: {}, session }]
  }
  return { read: (item) => read(item) }
}

export const bailian: TraceFormat = {
  name: 'bailian',
  isDated: false,
  isOrdered: true,
  recognise: (sample) => {
    const row = rowWith(sample, ['chat_id', 'timestamp', 'input_length', 'output_length'])
    return typeof row === 'string' ? row : undefined
  },
  createReader,
}
