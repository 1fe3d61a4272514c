// From what a client sent as a prompt to token ids.

import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { ChatTemplate } from '../../lib/model/chat-template.js'
import type { ModelTokenizer } from '../../lib/model/tokenizer.js'
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

/** Token ids of a prompt. User text never becomes control tokens; a chat template's own ones do. */
export function promptTokens(checkpoint: Checkpoint, prompt: PromptInput): readonly number[] {
  const { tokenizer, chatTemplate } = checkpoint
  switch (prompt.kind) {
    case 'tokens':
      return prompt.tokens
    case 'text':
      if (tokenizer === undefined) throw noTokenizer('text prompt')
      checkLength(checkpoint, [prompt.text])
      return tokenizer.encode(prompt.text)
    case 'chat':
      if (tokenizer === undefined) throw noTokenizer('chat')
      if (chatTemplate === undefined) {
        throw new ClusterError('failed_precondition', 'chat: this model has no chat template; use a completion', {
          details: { reason: 'NO_CHAT_TEMPLATE' },
        })
      }
      checkMessages(checkpoint, prompt.messages)
      return chatTokens(tokenizer, chatTemplate, prompt.messages)
  }
}

/**
 * The template's control tokens are read as such; where a message's own text spells one, that spelling stays text. It
 * travels through the template as a mark that no message contains.
 */
function chatTokens(tokenizer: ModelTokenizer, template: ChatTemplate, messages: readonly ChatMessage[]): number[] {
  const all = messages.map(({ role, content }) => role + content).join('')
  const mark = freeMark(all)
  const spelled: string[] = []
  const quote = (text: string): string =>
    tokenizer.controlTexts.reduce(
      (quoted, special) => quoted.replaceAll(special, () => `${mark}${spelled.push(special) - 1}${mark}`),
      text,
    )
  const rendered = template.render(
    messages.map(({ role, content }) => ({ role: quote(role), content: quote(content) })),
  )
  if (spelled.length === 0) return tokenizer.encode(rendered, { parseSpecial: true })
  return rendered
    .split(mark)
    .flatMap((part, i) =>
      i % 2 === 0 ? tokenizer.encode(part, { parseSpecial: true }) : tokenizer.encode(spelled[Number(part)] ?? ''),
    )
}

/** A private-use character that the text does not contain. */
function freeMark(text: string): string {
  for (let code = 0xe000; code <= 0xf8ff; code++)
    if (!text.includes(String.fromCharCode(code))) return String.fromCharCode(code)
  throw new ClusterError('invalid_argument', 'messages: every private-use character is taken')
}
