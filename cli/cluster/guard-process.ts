// Ends a process of ours when this one is gone, even by SIGKILL: a small shell in a session of its own reads from a pipe
// that only we hold open, and acts when it closes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Guard {
  /** Nothing is to be done any more; resolves when the shell is gone. */
  dismiss(): Promise<void>
}

const SCRIPT = `
read -r _
kill "$1" 2>/dev/null
[ -n "$2" ] || exit 0
while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
rm -rf -- "$2"`

/** The process's folder, where one is given, goes with it. */
export function guardProcess(pid: number, folder = ''): Guard {
  const shell = spawn('/bin/sh', ['-c', SCRIPT, 'banyan-guard', String(pid), folder], {
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
