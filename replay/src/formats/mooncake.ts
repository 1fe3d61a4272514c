// Mooncake's JSON lines: milliseconds, lengths, and one id per 512 tokens of prompt; with the fields that AIPerf adds:
// a text or messages instead of a length, sessions, and delays in place of times.

import { counted } from '../counted.js'
import type { TracePrompt } from '../trace.js'
import { blocksPrompt } from './block-names.js'
import {
  count,
  isRow,
  list,
  messages,
  optionalCount,
  optionalId,
  optionalText,
  optionalTime,
  parseRow,
  shown,
  text,
  type ChatMessage,
  type Row,
} from './fields.js'
import { BadItem, type RawRequest, type Reader, type ReaderOptions, type TraceFormat } from './format.js'

export const MOONCAKE_BLOCK_TOKENS = 512

const INPUTS = ['input_length', 'text_input', 'messages'] as const

function createReader({ blockTokens = MOONCAKE_BLOCK_TOKENS }: ReaderOptions): Reader {
  const lastMs = new Map<string, number>() // arrival of each session's turn before
  const histories = new Map<string, readonly ChatMessage[]>() // of sessions whose rows are only what is new
  let numDeltas = 0

  const read = (row: Row): RawRequest => {
    const session = optionalId(row, 'session_id')
    const delayMs = optionalTime(row, 'delay')
    const prompt = promptOf(row, blockTokens)
    const outputTokens = optionalCount(row, 'output_length')
    const model = optionalText(row, 'model')
    const timeMs = optionalTime(row, 'timestamp') ?? afterDelay(session, delayMs)
    if (session !== undefined && timeMs !== undefined) lastMs.set(session, timeMs)
    return {
      id: optionalId(row, 'request_id'),
      timeMs,
      prompt: row.message_mode === 'delta' ? continued(session, prompt) : prompt,
      ...(outputTokens !== undefined && { outputTokens }),
      sampling: {},
      ...(session !== undefined && { session }),
      ...(delayMs !== undefined && { delayMs }),
      ...(model !== undefined && { model }),
    }
  }

  const afterDelay = (session: string | undefined, delayMs: number | undefined): number | undefined => {
    const before = session === undefined ? undefined : lastMs.get(session)
    return before === undefined || delayMs === undefined ? undefined : before + delayMs
  }

  const continued = (session: string | undefined, prompt: TracePrompt): TracePrompt => {
    if (session === undefined || prompt.kind !== 'chat')
      throw new BadItem('message_mode: want delta with session_id and messages, found it without')
    numDeltas++
    const history = [...(histories.get(session) ?? []), ...prompt.messages]
    histories.set(session, history)
    return { kind: 'chat', messages: history }
  }

  return {
    read: (item) => [read(parseRow(item))],
    finish: () => ({
      notices:
        numDeltas === 0
          ? []
          : [
              `${counted(numDeltas, 'request')} with only what is new in the session: the answers in between are not in the prompts`,
            ],
    }),
  }
}

function promptOf(row: Row, blockTokens: number): TracePrompt {
  const given = INPUTS.filter((name) => row[name] !== undefined && row[name] !== null)
  const [input] = given
  if (given.length !== 1 || input === undefined)
    throw new BadItem(
      `want exactly one of ${INPUTS.join(', ')}, found ${given.length === 0 ? shown(row) : given.join(', ')}`,
    )
  if (input === 'text_input') return { kind: 'text', text: text(row, input) }
  if (input === 'messages') return { kind: 'chat', messages: messages(row, input) }
  const numTokens = count(row, input)
  const ids = row.hash_ids === undefined || row.hash_ids === null ? [] : list(row, 'hash_ids')
  return blocksPrompt('hash_ids', ids, { numTokens, blockTokens })
}

export const mooncake: TraceFormat = {
  name: 'mooncake',
  isDated: false,
  isOrdered: true,
  recognise: ({ values }) => {
    const rows = values.filter(isRow)
    if (rows.length === 0) return 'its lines are no JSON objects'
    if (rows.some((row) => 'chat_id' in row)) return 'it has chat_id'
    if (rows.some((row) => INPUTS.some((name) => name in row) && isMooncake(row))) return undefined
    return `no line has one of ${INPUTS.join(', ')} with timestamp, output_length or session_id`
  },
  createReader,
}

const isMooncake = (row: Row): boolean =>
  ['timestamp', 'output_length', 'hash_ids', 'session_id', 'delay'].some((name) => name in row)
