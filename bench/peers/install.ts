// Installs llama.cpp's prebuilt library beside this folder, once, with the versions of its own lockfile.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { isInstalled, peersFolder } from './node-llama-cpp.js'

/** No scripts: the library is prebuilt. No optional packages: those are builds for GPUs and other systems. */
const NPM_CI = ['ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund']

/** Does nothing where it is there already. */
export async function ensureInstalled(notify: (words: string) => void): Promise<void> {
  if (isInstalled()) return
  notify('installing node-llama-cpp into bench/peers, once')
  const npm = spawn('npm', [...NPM_CI, '--prefix', peersFolder()], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = (await once(npm, 'exit')) as [number | null] // the event's documented form
  if (code !== 0)
    throw new Error(`want npm ${NPM_CI.join(' ')} in bench/peers to succeed, found exit code ${code ?? 'none'}`)
}
