// Ends a process of ours when this one is gone, even by SIGKILL: a small shell in a session of its own reads from a pipe
// that only we hold open, and acts when it closes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Guard {
  /** Nothing is to be done any more; resolves when the shell is gone. */
  dismiss(): Promise<void>
}

export function guardProcess(pid: number): Guard {
  const shell = spawn('/bin/sh', ['-c', 'read -r _; kill "$1" 2>/dev/null', 'banyan-guard', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => undefined) // without a shell the process is only stopped the ordinary way
  shell.unref()
  return {
    dismiss: async () => {
      if (shell.exitCode !== null || shell.signalCode !== null || shell.pid === undefined) return
      const gone = once(shell, 'exit')
      shell.ref()
      shell.kill('SIGKILL')
      await gone
    },
  }
}
