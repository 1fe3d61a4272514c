// The wall clocks of a cluster's processes, to be moved by a case.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'

const PRELOAD = new URL(`clock-preload${extname(import.meta.url)}`, import.meta.url)

export interface WallClock {
  readonly env: Readonly<Record<string, string>> // of the processes
  /** By so much against the true time. */
  move(who: number | 'all', offsetMs: number): void
  close(): void
}

export function createWallClock(): WallClock {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-chaos-clock-'))
  const file = join(folder, 'clock')
  return {
    env: { CHAOS_CLOCK_FILE: file, NODE_OPTIONS: `--import ${PRELOAD.href}` },
    move: (who, offsetMs) => {
      writeFileSync(`${file}.tmp`, `${who} ${offsetMs}\n`)
      renameSync(`${file}.tmp`, file)
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
