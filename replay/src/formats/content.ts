// Files that hold content alone: ShareGPT's conversations and vLLM's lines of prompts. Neither has times.

import { counted, wereOrWas } from '../counted.js'
import {
  contentText,
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

// ShareGPT and its copies name the same things differently.
const TALKS = ['conversations', 'conversation', 'messages', 'items'] as const
const SPEAKERS = ['from', 'role'] as const
const TEXTS = ['value', 'content', 'text'] as const

const nameIn = <T extends string>(row: Row, names: readonly T[]): T | undefined =>
  names.find((name) => row[name] !== undefined && row[name] !== null)

function messageOf(message: unknown, where: string): ChatMessage {
  if (!isRow(message)) throw new BadItem(`${where}: want a message, found ${shown(message)}`)
  const speaker = nameIn(message, SPEAKERS) ?? 'from'
  const from = message[speaker]
  const role = typeof from === 'string' ? ROLES.get(from.toLowerCase()) : undefined
  if (role === undefined)
    throw new BadItem(`${where}.${speaker}: want one of ${[...ROLES.keys()].join(', ')}, found ${shown(from)}`)
  const name = nameIn(message, TEXTS)
  if (name === undefined) throw new BadItem(`${where}: want one of ${TEXTS.join(', ')}, found ${shown(message)}`)
  return { role, content: contentText(message[name], `${where}.${name}`) }
}

/** One request per answer: what was said before it is the prompt. */
function turnsOf(row: Row, session: string): readonly RawRequest[] {
  const name = nameIn(row, TALKS) ?? 'conversations'
  const said = list(row, name).map((message, i) => messageOf(message, `${name}[${i}]`))
  return said.flatMap((message, i): RawRequest[] => {
    const before = said.slice(0, i)
    if (message.role !== 'assistant' || !before.some(({ role }) => role === 'user')) return []
    const prompt = { kind: 'chat', messages: before } as const
    return [{ timeMs: undefined, prompt, outputText: message.content, sampling: {}, session }]
  })
}

/** Of messages, so that nothing else that has such a list is taken for a conversation. */
function isTalk(row: unknown): boolean {
  if (!isRow(row)) return false
  const talk = row[nameIn(row, TALKS) ?? 'conversations']
  return Array.isArray(talk) && talk.some((message) => isRow(message) && nameIn(message, SPEAKERS) !== undefined)
}

export const sharegpt: TraceFormat = {
  name: 'sharegpt',
  isDated: false,
  isOrdered: true,
  recognise: ({ values }) =>
    values.some(isTalk) ? undefined : `no line has ${TALKS.join(' or ')} with messages of a ${SPEAKERS.join(' or ')}`,
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
