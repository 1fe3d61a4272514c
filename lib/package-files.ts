// Where the package's own files lie: found from the package's folder, as code may run from a module of `dist/` or from the
// bundle made of them (`dist/banyan/`).

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClusterError } from './errors.js'

/** The folder of the package.json named 'banyan', found by walking up from this file. */
export function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (nameIn(join(folder, 'package.json')) === 'banyan') return folder
    if (dirname(folder) === folder)
      throw new ClusterError('internal', 'want a package.json named banyan above this file, found none')
  }
}

/** A file of the build, by its path below `dist/`. */
export const builtFile = (path: string): string => join(packageRoot(), 'dist', path)

/** The `banyan` command, as Node runs it. */
export const commandFile = (): string => builtFile('banyan/main.js')

export const demoModelPath = (): string => join(packageRoot(), 'models', 'demo')

function nameIn(file: string): unknown {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }).name // any JSON object may be looked at so
  } catch {
    return undefined // not here: the caller looks one folder up
  }
}
