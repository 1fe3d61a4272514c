// Chat templates as published: chat_template.jinja, or the string (or list) in tokenizer_config.json.

import { Template } from '@huggingface/jinja'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../errors.js'
import { readJson } from './json-file.js'

const MAX_PROMPT_CHARACTERS = 4 * 1024 * 1024

export interface ChatTemplate {
  /** The prompt's text. Throws `invalid_argument` with the template's own words where it refuses the messages. */
  render(messages: readonly { readonly role: string; readonly content: string }[]): string
}

/** A template of its source and of what tokenizer_config.json says; `path` is named in errors. */
export function createChatTemplate(
  source: string,
  config: Readonly<Record<string, unknown>>,
  path: string,
): ChatTemplate {
  const template = parse(source, path)
  const tokens = { bos_token: tokenText(config.bos_token), eos_token: tokenText(config.eos_token) }
  return { render: (messages) => render(template, { messages, ...tokens }) }
}

/** The chat template's text as published, or undefined where the folder has none. */
export const chatTemplateSource = (folder: string): string | undefined =>
  templateSource(folder, tokenizerConfig(folder))

function tokenizerConfig(folder: string): Readonly<Record<string, unknown>> {
  const path = join(folder, 'tokenizer_config.json')
  return existsSync(path) ? readJson(path) : {}
}

function templateSource(folder: string, config: Readonly<Record<string, unknown>>): string | undefined {
  const file = join(folder, 'chat_template.jinja')
  if (existsSync(file)) return readFileSync(file, 'utf8')
  const { chat_template: inConfig } = config
  if (typeof inConfig === 'string') return inConfig
  if (!Array.isArray(inConfig)) return undefined
  const named = inConfig as readonly { readonly name?: unknown; readonly template?: unknown }[] // both keys are checked
  const chosen = named.find(({ name }) => name === 'default') ?? named[0]
  return typeof chosen?.template === 'string' ? chosen.template : undefined
}

function parse(source: string, path: string): Template {
  try {
    return new Template(source)
  } catch (error) {
    throw new ClusterError('invalid_argument', `${path}: chat template: ${String(error)}`, { cause: error })
  }
}

function render(template: Template, values: Record<string, unknown>): string {
  let text: string
  try {
    text = template.render({
      ...values,
      add_generation_prompt: true,
      tools: null,
    })
  } catch (error) {
    throw new ClusterError(
      'invalid_argument',
      `messages: the chat template refuses them: ${error instanceof Error ? error.message : ''}`,
      {
        cause: error,
      },
    )
  }
  if (text.length <= MAX_PROMPT_CHARACTERS) return text
  throw new ClusterError(
    'invalid_argument',
    `messages: the prompt has ${text.length} characters, at most ${MAX_PROMPT_CHARACTERS}`,
  )
}

/** A token is written as text, or as an object with `content`. */
function tokenText(value: unknown): string {
  if (typeof value === 'string') return value
  const content = typeof value === 'object' && value !== null && 'content' in value ? value.content : undefined
  return typeof content === 'string' ? content : ''
}
