// Decides each setting's value: flag, else environment, else file, else default. All problems are reported at once.

import { readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import type * as Yaml from 'yaml'
import { ClusterError } from '../errors.js'
import { defaultsFor } from './defaults.js'
import { maskLogin } from './print.js'
import { configSchema, type ClusterConfig, type SettingName } from './schema.js'
import { kebab, SETTING_NAMES, SETTINGS } from './settings.js'

export interface ConfigSources {
  readonly flags?: Readonly<Record<string, unknown>> // by setting name; undefined: not given
  readonly env: Readonly<Record<string, string | undefined>>
  readonly file?: string | undefined // --config FILE.yaml
  readonly machine: {
    readonly model?: string | undefined
    readonly cores: number
    readonly costModelFile?: string | undefined
    readonly weightCache?: string | undefined
  }
}

export interface ResolvedConfig {
  readonly config: ClusterConfig
  readonly origins: Readonly<Record<SettingName, string>> // '--experts', 'BANYAN_EXPERTS', 'file.yaml' or 'default'
}

interface Found {
  readonly value: unknown
  readonly origin: string
}

type Layer = (name: SettingName) => Found | undefined

/** Throws one `invalid_argument` that names every bad setting: key, found, wanted. */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const problems: string[] = []
  const file = sources.file === undefined ? {} : readFile(sources.file, problems)
  const defaults = defaultsFor(sources.machine)
  const layers: readonly Layer[] = [
    layer(sources.flags ?? {}, (name) => `--${kebab(name)}`),
    (name) => fromEnvironment(name, sources.env),
    layer(file, () => sources.file ?? ''),
    layer(defaults, () => 'default'),
  ]
  const values: Record<string, unknown> = {}
  const origins: Record<string, string> = {}
  for (const name of SETTING_NAMES) {
    const found = layers.map((at) => at(name)).find((candidate) => candidate !== undefined)
    origins[name] = found?.origin ?? 'default'
    const parsed = configSchema.shape[name].safeParse(found?.value)
    if (parsed.success) values[name] = parsed.data
    else problems.push(problem(name, found))
  }
  if (problems.length > 0)
    throw new ClusterError('invalid_argument', problems.join('; '), { details: { reason: 'BAD_CONFIG' } })
  return {
    config: values as ClusterConfig, // every key was parsed by its own schema just above
    origins: origins as Record<SettingName, string>, // filled for every name
  }
}

const layer =
  (values: Readonly<Record<string, unknown>>, origin: (name: SettingName) => string): Layer =>
  (name) =>
    values[name] === undefined ? undefined : { value: values[name], origin: origin(name) }

function problem(name: SettingName, found: Found | undefined): string {
  const { wants, isSecret = false } = SETTINGS[name]
  if (found === undefined) return `${kebab(name)}: want ${wants}, found nothing`
  const shown = isSecret ? 'something else' : maskLogin(JSON.stringify(found.value))
  return `${kebab(name)}: want ${wants}, found ${shown} (${found.origin})`
}

function fromEnvironment(name: SettingName, env: ConfigSources['env']): Found | undefined {
  const key = SETTINGS[name].env
  const value = env[key]
  if (value === undefined || value === '') return undefined
  return { value: name === 'apiKey' ? readApiKeys(value) : value, origin: key }
}

/** A file with one key a line (`#` begins a comment), or a list with commas. */
export function readApiKeys(value: string): readonly string[] {
  const isFile = statSync(value, { throwIfNoEntry: false })?.isFile() ?? false
  const items = isFile ? readFileSync(value, 'utf8').split(/\r?\n/) : value.split(',')
  return items.map((item) => item.trim()).filter((item) => item !== '' && !(isFile && item.startsWith('#')))
}

/** The file's settings by setting name; what it should not hold becomes a problem. */
function readFile(file: string, problems: string[]): Readonly<Record<string, unknown>> {
  const content = parseFile(file)
  if (content === null || content === undefined) return {}
  if (typeof content !== 'object' || Array.isArray(content)) {
    problems.push(
      `${file}: want keys with values, found ${Array.isArray(content) ? 'a list' : JSON.stringify(content)}`,
    )
    return {}
  }
  const names = new Map<string, SettingName>(SETTING_NAMES.map((name) => [kebab(name), name]))
  const values: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(content)) {
    const name = names.get(key)
    if (name === undefined)
      problems.push(`${key}: no such setting (${file}); known are ${[...names.keys()].join(', ')}`)
    else if (value !== null) values[name] = value
  }
  return values
}

function parseFile(file: string): unknown {
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ClusterError('not_found', `config ${file}: ${ClusterError.from(error).message}`, { cause: error })
  }
  // Most processes read no such file, and the package's 72 modules take their time to load.
  const { parse } = createRequire(import.meta.url)('yaml') as typeof Yaml // its own types
  try {
    return parse(source) as unknown // checked by the caller
  } catch (error) {
    const [firstLine = ''] = ClusterError.from(error).message.split('\n')
    throw new ClusterError('invalid_argument', `config ${file}: want YAML, found ${firstLine}`, { cause: error })
  }
}
