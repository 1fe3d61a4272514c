// What `--print-config` shows: every setting, where it came from, secrets masked.

import type { ResolvedConfig } from './resolve.js'
import { kebab, SETTING_NAMES, SETTINGS } from './settings.js'

export interface PrintedSetting {
  readonly value: unknown
  readonly origin: string
}

/** What stands before an @ in a URL is a login. */
export const maskLogin = (text: string): string => text.replace(/(:\/\/)[^\s,]*@/g, '$1****@')

const maskPassword = (value: unknown): unknown => (typeof value === 'string' ? maskLogin(value) : value)

const hidden = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(() => '****')
  return value === null ? null : '****'
}

/** By the name used in files; unset settings are null. */
export function describeConfig({ config, origins }: ResolvedConfig): Readonly<Record<string, PrintedSetting>> {
  const entries = SETTING_NAMES.map((name): [string, PrintedSetting] => {
    const value: unknown = config[name] ?? null
    const shown = SETTINGS[name].isSecret === true ? hidden(value) : maskPassword(value)
    return [kebab(name), { value: shown, origin: origins[name] }]
  })
  return Object.fromEntries(entries)
}

/** One `key: value  # origin` a line: valid as a `--config` file. */
export function printConfig(resolved: ResolvedConfig): string {
  return Object.entries(describeConfig(resolved))
    .map(([key, { value, origin }]) => {
      const shown = key === 'draft' && Array.isArray(value) && value.length === 0 ? '"off"' : JSON.stringify(value)
      return `${`${key}: ${shown}`.padEnd(40)} # ${origin}`
    })
    .join('\n')
}
