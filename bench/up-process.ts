// A cluster as a user starts it: `banyan up` as a child process, found through its ready file.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, existsSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { commandFile } from '../lib/package-files.js'

export interface UpProcess {
  readonly http: string
  readonly grpc: string
  readonly nats: string | null // URL of its server, null where there is none
  readonly pid: number
  stop(): Promise<void>
}

interface UpOptions {
  readonly timeoutMs?: number | undefined
  readonly env?: Readonly<Record<string, string>> | undefined // beside this process's own
}

/** Starts `banyan up` with free ports and waits for its ready file. */
export async function startUp(
  flags: readonly string[],
  { timeoutMs = 60_000, env = {} }: UpOptions = {},
): Promise<UpProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-up-'))
  const readyFile = join(folder, 'ready.json')
  const main = commandFile()
  const child = spawn(
    process.execPath,
    [main, 'up', '--http', '0', '--grpc', '0', '--ready-file', readyFile, ...flags],
    {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
  const exited = once(child, 'exit')
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await exited
    }
    rmSync(folder, { recursive: true, force: true })
  }
  for (const giveUp = Date.now() + timeoutMs; !existsSync(readyFile);) {
    if (child.exitCode !== null || Date.now() > giveUp) {
      await stop()
      throw new Error(`banyan up ${flags.join(' ')}: not ready within ${timeoutMs} ms`)
    }
    await sleep(20)
  }
  // The ready file's form is documented in docs/reference.md.
  const ready = JSON.parse(readFileSync(readyFile, 'utf8')) as Omit<UpProcess, 'stop'>
  return { ...ready, stop }
}
