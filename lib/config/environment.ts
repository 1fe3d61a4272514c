// A configuration as environment variables: how `up` hands it to the processes that it starts.

import { type ClusterConfig, type SettingName } from './schema.js'
import { SETTING_NAMES, SETTINGS } from './settings.js'

/** The inverse of reading the environment; unset settings become empty, so that nothing is inherited by accident. */
export function toEnvironment(config: ClusterConfig): Record<string, string> {
  const entries = SETTING_NAMES.map((name): [string, string] => {
    const value = config[name]
    return [SETTINGS[name].env, Array.isArray(value) ? listText(name, value) : String(value ?? '')]
  })
  return Object.fromEntries(entries)
}

function listText(name: SettingName, items: readonly string[]): string {
  if (name === 'draft') return items.length === 0 ? 'off' : items.join(',')
  return items.map((item) => `${item},`).join('') // the comma at the end: a list, never the name of a file
}
