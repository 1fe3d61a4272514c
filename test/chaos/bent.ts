// Processes whose surroundings a case can bend: their wall clocks, and whether their files may grow.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'

const PRELOAD = new URL(`preload${extname(import.meta.url)}`, import.meta.url)

export interface Bent {
  readonly env: Readonly<Record<string, string>> // of the processes
  /** By so much against the true time. */
  moveClock(who: number | 'all', offsetMs: number): void
  /** Whether the process can make files larger; without, every write beyond what is there fails. */
  limitFiles(pid: number, isLimited: boolean): void
  close(): void
}

export function createBent(): Bent {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-chaos-bent-'))
  const file = join(folder, 'clock')
  return {
    env: { CHAOS_CLOCK_FILE: file, NODE_OPTIONS: `--import ${PRELOAD.href}` },
    moveClock: (who, offsetMs) => {
      writeFileSync(`${file}.tmp`, `${who} ${offsetMs}\n`)
      renameSync(`${file}.tmp`, file)
    },
    limitFiles: (pid, isLimited) => {
      // The soft limit alone: the hard one stays, so that the soft one can be lifted again.
      execFileSync('prlimit', ['--pid', String(pid), `--fsize=${isLimited ? 0 : 'unlimited'}:`])
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
