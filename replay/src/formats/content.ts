// Files that hold content alone: ShareGPT's conversations and vLLM's lines of prompts. Neither has times.

import { counted, wereOrWas } from '../counted.js'
import {
  isRow,
  list,
  optionalCount,
  optionalId,
  optionalText,
  parseRow,
  rowWith,
  shown,
  text,
  type ChatMessage,
  type Row,
} from './fields.js'
import { BadItem, type RawRequest, type TraceFormat } from './format.js'

const ROLES: ReadonlyMap<string, string> = new Map([
  ['human', 'user'],
  ['user', 'user'],
  ['gpt', 'assistant'],
  ['chatgpt', 'assistant'],
  ['bing', 'assistant'],
  ['bard', 'assistant'],
  ['assistant', 'assistant'],
  ['system', 'system'],
])

/** ShareGPT writes from and value, some of its copies role and content. */
function messageOf(message: unknown, i: number): ChatMessage {
  if (!isRow(message)) throw new BadItem(`conversations[${i}]: want a message, found ${shown(message)}`)
  const from = message.from ?? message.role
  const role = typeof from === 'string' ? ROLES.get(from) : undefined
  if (role === undefined)
    throw new BadItem(`conversations[${i}].from: want one of ${[...ROLES.keys()].join(', ')}, found ${shown(from)}`)
  return { role, content: text(message, 'value' in message ? 'value' : 'content') }
}

/** One request per answer: what was said before it is the prompt. */
function turnsOf(row: Row, session: string): readonly RawRequest[] {
  const said = list(row, 'conversations' in row ? 'conversations' : 'conversation').map(messageOf)
  return said.flatMap((message, i): RawRequest[] => {
    const before = said.slice(0, i)
    if (message.role !== 'assistant' || !before.some(({ role }) => role === 'user')) return []
    const prompt = { kind: 'chat', messages: before } as const
    return [{ timeMs: undefined, prompt, outputText: message.content, sampling: {}, session }]
  })
}

export const sharegpt: TraceFormat = {
  name: 'sharegpt',
  isDated: false,
  isOrdered: true,
  recognise: (sample) => {
    const found = [rowWith(sample, ['conversations']), rowWith(sample, ['conversation'])]
    return found.some((row) => typeof row !== 'string') ? undefined : 'no conversation has conversations'
  },
  createReader: () => {
    let number = 0
    let numSilent = 0
    return {
      read: (item) => {
        const row = parseRow(item)
        const turns = turnsOf(row, optionalId(row, 'id') ?? `conversation-${number + 1}`)
        number++
        if (turns.length === 0) numSilent++
        return turns
      },
      finish: () => ({
        notices:
          numSilent === 0
            ? []
            : [`${counted(numSilent, 'conversation')} without an answer to a user ${wereOrWas(numSilent)} left out`],
      }),
    }
  },
}

/** vLLM's custom data set: `{"prompt": …}`, maybe with the tokens to generate. */
export const vllmCustom: TraceFormat = {
  name: 'vllm-custom',
  isDated: false,
  isOrdered: true,
  recognise: (sample) => {
    const row = rowWith(sample, ['prompt'])
    if (typeof row === 'string') return row
    return typeof row.prompt === 'string' ? undefined : 'its prompt is no text'
  },
  createReader: () => ({
    read: (item) => {
      const row = parseRow(item)
      const outputTokens = optionalCount(row, 'output_tokens') ?? optionalCount(row, 'output_len')
      const outputText = optionalText(row, 'completion')
      return [
        {
          timeMs: undefined,
          prompt: { kind: 'text', text: text(row, 'prompt') },
          ...(outputTokens !== undefined && { outputTokens }),
          ...(outputText !== undefined && { outputText }),
          sampling: {},
        },
      ]
    },
  }),
}
