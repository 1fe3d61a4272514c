// From what a client sent as a prompt to token ids.

import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { RenderClock } from '../../lib/model/template-renderer.js'
import type { ChatMessage, PromptInput } from './engine.js'

const noTokenizer = (what: string): ClusterError =>
  new ClusterError('failed_precondition', `${what}: this model has no tokenizer; send token ids`, {
    details: { reason: 'NO_TOKENIZER' },
  })

/** More than any text has, on average over its whole length; tokenising takes long for each of them. */
const MAX_CHARACTERS_PER_TOKEN = 16

/** Refuses what cannot fit the context before it is tokenised. */
function checkLength({ spec }: Checkpoint, texts: readonly string[]): void {
  const max = spec.maxPositions * MAX_CHARACTERS_PER_TOKEN
  const length = texts.reduce((sum, text) => sum + text.length, 0)
  if (length <= max) return
  throw new ClusterError('invalid_argument', `prompt: want at most ${max} characters, got ${length}`, {
    details: { reason: 'INVALID_ARGUMENT', field: 'prompt' },
  })
}

function checkMessages(checkpoint: Checkpoint, messages: readonly ChatMessage[]): void {
  const max = checkpoint.spec.maxPositions
  if (messages.length > max) {
    throw new ClusterError('invalid_argument', `messages: want at most ${max}, got ${messages.length}`, {
      details: { reason: 'INVALID_ARGUMENT', field: 'messages' },
    })
  }
  checkLength(
    checkpoint,
    messages.flatMap(({ role, content }) => [role, content]),
  )
}

const ROLES: ReadonlySet<string> = new Set(['system', 'developer', 'user', 'assistant', 'tool']) // templates ask for them

/** Token ids of a text. None of it becomes a control token. */
export function textTokens(checkpoint: Checkpoint, text: string): readonly number[] {
  if (checkpoint.tokenizer === undefined) throw noTokenizer('text prompt')
  checkLength(checkpoint, [text])
  return checkpoint.tokenizer.encode(text)
}

/**
 * Token ids of a prompt. User text never becomes control tokens; a chat template's own ones do. A template that asks
 * for the date is told the clock's.
 */
export async function promptTokens(
  checkpoint: Checkpoint,
  prompt: PromptInput,
  clock: RenderClock,
): Promise<readonly number[]> {
  if (prompt.kind === 'tokens') return prompt.tokens
  if (prompt.kind === 'text') return textTokens(checkpoint, prompt.text)
  const { tokenizer, chatTemplate } = checkpoint
  if (tokenizer === undefined) throw noTokenizer('chat')
  if (chatTemplate === undefined) {
    throw new ClusterError('failed_precondition', 'chat: this model has no chat template; use a completion', {
      details: { reason: 'NO_CHAT_TEMPLATE' },
    })
  }
  checkMessages(checkpoint, prompt.messages)
  const mark = freeMark(prompt.messages.map(({ role, content }) => role + content).join(''))
  const guarded = prompt.messages.map(({ role, content }) => ({
    role: ROLES.has(role) ? role : tokenizer.guard(role, mark),
    content: tokenizer.guard(content, mark),
  }))
  return tokenizer.encode(await chatTemplate.render(guarded, clock), { parseSpecial: true, mark })
}

/** A private-use character that the text does not contain. */
function freeMark(text: string): string {
  for (let code = 0xe000; code <= 0xf8ff; code++)
    if (!text.includes(String.fromCharCode(code))) return String.fromCharCode(code)
  throw new ClusterError('invalid_argument', 'messages: every private-use character is taken')
}
