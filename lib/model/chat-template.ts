// Chat templates as published: chat_template.jinja, or the string (or list) in tokenizer_config.json. Nobody vouches for
// them: they are parsed here, and run in a process of their own.

import { Template } from '@huggingface/jinja'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../errors.js'
import { readJson } from './json-file.js'
import { readText } from './open-file.js'
import { createTemplateRenderer, type RenderClock } from './template-renderer.js'

export interface ChatMessage {
  readonly role: string
  readonly content: string
}

export interface ChatTemplate {
  /**
   * The prompt's text; a template that asks for the date is told the clock's. Throws `invalid_argument` with the
   * template's own words where it refuses the messages, `internal` where it does not end or takes too much, and the
   * signal's reason where it aborts.
   */
  render(messages: readonly ChatMessage[], clock: RenderClock, signal?: AbortSignal): Promise<string>
  /** Starts what renders, so that the first chat need not wait for it. */
  warm(): void
  close(): void
}

const MAX_SOURCE_CHARACTERS = 256 * 1024

/** A template of its source and of what tokenizer_config.json says; `path` is named in errors. */
export function createChatTemplate(
  source: string,
  config: Readonly<Record<string, unknown>>,
  path: string,
): ChatTemplate {
  check(source, path)
  const renderer = createTemplateRenderer(source, path)
  const values = { ...tokenTexts(config), add_generation_prompt: true, tools: null, documents: null }
  return {
    render: (messages, clock, signal) => renderer.render({ ...values, messages }, clock, signal),
    warm: () => renderer.warm(),
    close: () => renderer.close(),
  }
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
  if (existsSync(file)) return readText(file)
  const { chat_template: inConfig } = config
  if (typeof inConfig === 'string') return inConfig
  if (!Array.isArray(inConfig)) return undefined
  const named = inConfig as readonly { readonly name?: unknown; readonly template?: unknown }[] // both keys are checked
  const chosen = named.find(({ name }) => name === 'default') ?? named[0]
  return typeof chosen?.template === 'string' ? chosen.template : undefined
}

function check(source: string, path: string): void {
  if (source.length > MAX_SOURCE_CHARACTERS) {
    const found = `${source.length} characters, at most ${MAX_SOURCE_CHARACTERS}`
    throw new ClusterError('invalid_argument', `${path}: chat template: ${found}`)
  }
  try {
    void new Template(source)
  } catch (error) {
    throw new ClusterError('invalid_argument', `${path}: chat template: ${String(error)}`, { cause: error })
  }
}

/** `bos_token` and its like, as far as they are there: text, or an object with `content`. */
function tokenTexts(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const texts = Object.keys(config)
    .filter((key) => key.endsWith('_token'))
    .map((key): [string, unknown] => [key, textOf(config[key])])
  return Object.fromEntries(texts.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

const textOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'content' in value ? value.content : value
