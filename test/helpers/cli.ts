// The `banyan` command as a user runs it: a process of its own, from whatever form (sources or build) the tests run in.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandFile } from '../../lib/package-files.js'
import { eventually } from './eventually.js'
import { weightCache } from './weight-cache.js'

export const CLI_MAIN = commandFile()

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const READY_TIMEOUT_MS = 60_000 // a start of seven processes beside the other lane's

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly readyTimeoutMs?: number // of `up`
}

export interface RunningCli {
  readonly child: ChildProcess
  readonly pid: number
  readonly outcome: Promise<Outcome>
}

/** Starts the command in a process group of its own; nothing of this process's NATS or Banyan settings reaches it. */
export function startCli(words: readonly string[], { env = {}, input }: CliOptions = {}): RunningCli {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(BANYAN_(?!NATS_SERVER|CACHE)|NATS_|OTEL_|LOG_LEVEL)/.test(name),
  )
  const child = spawn(process.execPath, [...process.execArgv, CLI_MAIN, ...words], {
    env: { ...Object.fromEntries(inherited), BANYAN_COST_MODEL_FILE: 'off', BANYAN_WEIGHT_CACHE: weightCache, ...env }, // nothing into the user's cache
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  child.stdin.end(input)
  const text = { stdout: '', stderr: '' }
  child.stdout.on('data', (data: Buffer) => (text.stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (text.stderr += data.toString()))
  const outcome = once(child, 'close').then(() => ({ code: child.exitCode, ...text }))
  return { child, pid: child.pid ?? 0, outcome }
}

export const runCli = (words: readonly string[], options?: CliOptions): Promise<Outcome> =>
  startCli(words, options).outcome

export interface CliCluster extends RunningCli {
  readonly readyFile: string
  readonly ready: {
    readonly http: string
    readonly grpc: string
    readonly nats: string | null
    readonly pid: number
    readonly routers: readonly { readonly http: string; readonly grpc: string }[]
  }
  /** Ends it (SIGTERM unless the test did already) and waits until it is gone. */
  end(): Promise<Outcome>
}

/** `banyan up` with free ports; resolves when its ready file is there. */
export async function upCli(words: readonly string[], options?: CliOptions): Promise<CliCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-cli-'))
  const file = join(folder, 'ready.json')
  const running = startCli(['up', '--http', '0', '--grpc', '0', '--ready-file', file, ...words], options)
  const end = async (): Promise<Outcome> => {
    running.child.kill('SIGTERM')
    const outcome = await running.outcome
    rmSync(folder, { recursive: true, force: true })
    return outcome
  }
  try {
    await eventually(
      () => existsSync(file) || running.child.exitCode !== null,
      'the ready file is written',
      options?.readyTimeoutMs ?? READY_TIMEOUT_MS,
    )
    if (!existsSync(file)) throw new Error(`banyan up ended: ${(await running.outcome).stderr}`)
    return { ...running, readyFile: file, ready: JSON.parse(readFileSync(file, 'utf8')) as CliCluster['ready'], end }
  } catch (error) {
    await end()
    throw error
  }
}

/** Whether a process exists (a zombie that nobody has waited for does not count). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = `/proc/${pid}/stat`
  if (!existsSync('/proc/self/stat')) return true
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(stat, 'utf8'))
  } catch {
    return false
  }
}
