// One lane seen from outside: a process that runs one test file after the other (`main.ts`), and what it printed.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FileResult } from './main.js'

const MAIN = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url))

export interface Lane {
  /** Runs one file and prints what it printed. */
  run(file: string): Promise<FileResult & { readonly hasEnded: boolean }>
  /** Lets the process end; resolves with what is wrong about how it did. */
  end(): Promise<string | undefined>
}

/** One that is alone prints at once, like a process of its own; several share the cores, and nobody spins for another's. */
export function startLane({ numLanes }: { readonly numLanes: number }): Lane {
  const output = numLanes === 1 ? undefined : createOutput()
  const threads = Math.max(1, Math.floor(availableParallelism() / numLanes))
  const sink = output?.file ?? 'inherit'
  const colors = process.stdout.isTTY ? { MOCHA_COLORS: '1' } : {}
  const child = fork(MAIN, {
    stdio: ['ignore', sink, sink, 'ipc'],
    env: { BANYAN_THREADS: `${threads}`, ...process.env, ...colors },
  })
  const ended = once(child, 'exit').then(() => `a lane ended with ${child.signalCode ?? child.exitCode}`)

  return {
    run: async (file) => {
      const answered = once(child, 'message').then(([result]) => ({ ...(result as FileResult), hasEnded: false })) // main.ts sends no other
      child.send(file, () => undefined) // a lane that cannot be reached has ended
      const early = ended.then((words) => ({ passed: 0, failures: [words], hasEnded: true }))
      const result = await Promise.race([answered, early])
      output?.print()
      return result
    },
    end: async () => {
      if (child.connected) child.disconnect()
      const words = await ended
      output?.print()
      output?.close()
      return child.exitCode === 0 ? undefined : words
    },
  }
}

/** A file without a name: what is written to it is there at once, whoever writes, and in its order. */
function createOutput() {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-lane-'))
  const file = openSync(join(folder, 'output'), 'a+')
  rmSync(folder, { recursive: true })
  let printed = 0
  return {
    file,
    /** What came since the last call. */
    print: (): void => {
      const bytes = Buffer.alloc(fstatSync(file).size - printed)
      printed += readSync(file, bytes, 0, bytes.length, printed)
      process.stdout.write(bytes)
    },
    close: () => closeSync(file),
  }
}
