// From what a client sent as a prompt to token ids.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { ChatMessage, PromptInput } from './engine.js'
import { createTokenise } from './tokenising.js'

/** All throw the signal's reason where it aborts meanwhile. */
export interface PromptReader {
  /** Token ids of a text, bare or with what is put around a prompt. None of it becomes a control token. */
  text(this: void, text: string, signal?: AbortSignal, isBare?: boolean): Promise<readonly number[]>
  /**
   * Token ids of a prompt. User text never becomes control tokens; a chat template's own ones do. A template that asks
   * for the date is told the clock's.
   */
  prompt(this: void, prompt: PromptInput, signal?: AbortSignal): Promise<readonly number[]>
}

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

export function createPromptReader(checkpoint: Checkpoint, clock: Clock): PromptReader {
  const { tokenizer, chatTemplate } = checkpoint
  const tokenise = tokenizer && createTokenise(tokenizer, clock)

  const text: PromptReader['text'] = async (given, signal, isBare = false) => {
    if (tokenise === undefined) throw noTokenizer('text prompt')
    checkLength(checkpoint, [given])
    return tokenise(given, { isBare }, signal)
  }

  const chat = async (messages: readonly ChatMessage[], signal?: AbortSignal): Promise<readonly number[]> => {
    if (tokenizer === undefined || tokenise === undefined) throw noTokenizer('chat')
    if (chatTemplate === undefined) {
      throw new ClusterError('failed_precondition', 'chat: this model has no chat template; use a completion', {
        details: { reason: 'NO_CHAT_TEMPLATE' },
      })
    }
    checkMessages(checkpoint, messages)
    const mark = freeMark(messages)
    const guarded = messages.map(({ role, content }) => ({
      role: ROLES.has(role) ? role : tokenizer.guard(role, mark),
      content: tokenizer.guard(content, mark),
    }))
    return tokenise(await chatTemplate.render(guarded, clock, signal), { parseSpecial: true, mark }, signal)
  }

  return {
    text,
    prompt: async (prompt, signal) => {
      if (prompt.kind === 'tokens') return prompt.tokens
      return prompt.kind === 'text' ? text(prompt.text, signal) : chat(prompt.messages, signal)
    },
  }
}

const FIRST_PRIVATE = 0xe000
const NUM_PRIVATE = 0x1900

/** A private-use character that no message contains. */
function freeMark(messages: readonly ChatMessage[]): string {
  const taken = new Uint8Array(NUM_PRIVATE)
  for (const { role, content } of messages) {
    for (const text of [role, content]) {
      for (let i = 0; i < text.length; i++) {
        const place = text.charCodeAt(i) - FIRST_PRIVATE
        if (place >= 0 && place < NUM_PRIVATE) taken[place] = 1
      }
    }
  }
  const free = taken.indexOf(0)
  if (free !== -1) return String.fromCharCode(FIRST_PRIVATE + free)
  throw new ClusterError('invalid_argument', 'messages: every private-use character is taken', {
    details: { reason: 'INVALID_ARGUMENT', field: 'messages' },
  })
}
