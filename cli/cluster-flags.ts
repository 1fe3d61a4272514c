// The cluster's flags on a command, and the configuration that they, the environment and a file make.

import { Option, type Command } from 'commander'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { defaultsFor } from '../lib/config/defaults.js'
import { tlsFiles, tracesExperts } from '../lib/config/options.js'
import { describeConfig, printConfig } from '../lib/config/print.js'
import { resolveConfig, type ResolvedConfig } from '../lib/config/resolve.js'
import type { SettingName } from '../lib/config/schema.js'
import { kebab, SETTING_NAMES, SETTINGS } from '../lib/config/settings.js'
import { cacheFolder } from './cluster/choose-transport.js'
import { demoModelPath } from '../lib/package-files.js'
import { print, printJson } from './terminal.js'

const DEFAULTS = defaultsFor({ cores: availableParallelism() })

export type Flags = Readonly<Record<string, unknown>>

export const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [
  ...(before ?? []),
  value,
]

/** What a setting is, with its default where its own text does not tell that. */
export function helpOf(name: SettingName): string {
  const { help } = SETTINGS[name]
  const usual = DEFAULTS[name]
  const isTold = help.includes('default') || (typeof usual !== 'string' && typeof usual !== 'number')
  return isTold ? help : `${help} (default: ${usual})`
}

/** Adds every setting that has a flag, `--config` and `--print-config`; not those that mean something else there. */
export function addClusterFlags(command: Command, without: readonly string[] = []): Command {
  for (const name of SETTING_NAMES) {
    if (without.includes(name)) continue
    const { value, isRepeatable = false, isSwitch = false } = SETTINGS[name]
    if (value === undefined) continue
    const help = helpOf(name)
    const form = `--${kebab(name)} <${value}>`
    if (isRepeatable) command.option<readonly string[]>(form, help, (item, before) => collect(item, before))
    else if (isSwitch) command.addOption(new Option(`--${kebab(name)} [${value}]`, help).preset('on'))
    else command.option(form, help)
  }
  return command
    .option('--config <FILE>', 'YAML file with any of these settings (flags and environment come first)')
    .option('--print-config', 'print every setting and where it came from, then exit')
}

/** Throws `invalid_argument` that names every bad setting at once. */
export function loadConfig({ config: file, ...flags }: Flags): ResolvedConfig {
  const machine = {
    model: demoModelPath(),
    cores: availableParallelism(),
    costModelFile: join(cacheFolder(process.env), 'cost-model.json'),
    weightCache: join(cacheFolder(process.env), 'weights'),
  }
  const resolved = resolveConfig({
    flags,
    env: process.env,
    file: typeof file === 'string' ? file : undefined,
    machine,
  })
  tracesExperts(resolved.config)
  tlsFiles(resolved.config) // half of a pair is a mistake that no service needs to find
  return { ...resolved, config: { ...resolved.config, model: resolve(resolved.config.model) } }
}

/** Handles `--print-config`; true when it did and nothing else is to be done. */
export function printsConfig(flags: Flags, resolved: ResolvedConfig): boolean {
  if (flags.printConfig !== true) return false
  if (flags.json === true) printJson(describeConfig(resolved))
  else print(printConfig(resolved))
  return true
}
