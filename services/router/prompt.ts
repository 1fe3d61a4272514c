// From what a client sent as a prompt to token ids.

import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { PromptInput } from './engine.js'

const noTokenizer = (what: string): ClusterError =>
  new ClusterError('failed_precondition', `${what}: this model has no tokenizer; send token ids`, {
    details: { reason: 'NO_TOKENIZER' },
  })

/** Token ids of a prompt. User text never becomes control tokens; a chat template's own ones do. */
export function promptTokens(checkpoint: Checkpoint, prompt: PromptInput): readonly number[] {
  const { tokenizer, chatTemplate } = checkpoint
  switch (prompt.kind) {
    case 'tokens':
      return prompt.tokens
    case 'text':
      if (tokenizer === undefined) throw noTokenizer('text prompt')
      return tokenizer.encode(prompt.text)
    case 'chat':
      if (tokenizer === undefined) throw noTokenizer('chat')
      if (chatTemplate === undefined) {
        throw new ClusterError('failed_precondition', 'chat: this model has no chat template; use a completion', {
          details: { reason: 'NO_CHAT_TEMPLATE' },
        })
      }
      return tokenizer.encode(chatTemplate.render(prompt.messages), { parseSpecial: true })
  }
}
