// A process as a container runs it, as far as this machine lets us: user 10001, process 1 of its own process tree.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

export const USER_ID = 10_001
const UNSHARE = [
  ...['--pid', '--fork', '--'],
  ...['setpriv', `--reuid=${USER_ID}`, `--regid=${USER_ID}`, '--clear-groups', '--no-new-privs', '--'],
]

/** What this machine lets us do; only root may become another user. */
export interface Containment {
  readonly isOtherUser: boolean
  readonly isProcessOne: boolean
}

export function containment(): Containment {
  const isOtherUser = process.getuid?.() === 0
  const canUnshare = isOtherUser && spawnSync('unshare', [...UNSHARE, 'true']).status === 0
  return { isOtherUser, isProcessOne: canUnshare }
}

export interface Contained {
  readonly child: ChildProcess
  readonly outcome: Promise<{ readonly code: number | null; readonly stderr: string }>
  readonly kill: (signal: 'SIGTERM' | 'SIGKILL') => void
}

/** Starts a command with exactly this environment. */
export function startContained(
  [command = '', ...words]: readonly string[],
  { isOtherUser, isProcessOne }: Containment,
  env: NodeJS.ProcessEnv,
): Contained {
  const stdio: ('ignore' | 'pipe')[] = ['ignore', 'ignore', 'pipe']
  const child = isProcessOne
    ? spawn('unshare', [...UNSHARE, command, ...words], { env: { PATH: process.env.PATH, ...env }, stdio })
    : spawn(command, words, { env, stdio, ...(isOtherUser ? { uid: USER_ID, gid: USER_ID } : {}) })
  let stderr = ''
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()))
  const outcome = new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    child.once('error', reject).once('close', (code) => resolve({ code, stderr }))
  })
  const kill = (signal: 'SIGTERM' | 'SIGKILL'): void => {
    if (child.exitCode !== null) return
    const pid = isProcessOne ? onlyChildOf(child.pid) : child.pid
    if (pid !== undefined) process.kill(pid, signal)
  }
  return { child, outcome, kill }
}

/** `unshare` stays outside as the parent of process 1, keeps signals to itself and ends as its child did. */
function onlyChildOf(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return children === '' ? undefined : Number(children)
}
