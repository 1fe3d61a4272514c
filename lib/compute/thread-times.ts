// How long threads of this process ran and waited for a core, as Linux counts it (/proc/PID/task/TID/schedstat).

import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import type { ThreadTimes } from './crowding.js'

/** The system's number of the thread that calls; 0 where the system does not tell. */
export function threadNumber(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  } catch {
    return 0
  }
}

export interface ThreadClocks {
  /** Undefined where the system does not tell. */
  read(): readonly ThreadTimes[] | undefined
  close(): void
}

const NS_PER_MS = 1e6

export function openThreadClocks(threads: readonly number[]): ThreadClocks {
  const files: number[] = []
  const close = (): void => files.splice(0).forEach((file) => closeSync(file))
  try {
    for (const thread of threads) files.push(openSync(`/proc/self/task/${thread}/schedstat`, 'r'))
  } catch {
    close()
  }
  const text = Buffer.alloc(64)
  const timesOf = (file: number): ThreadTimes => {
    const [ran, waited] = text.toString('latin1', 0, readSync(file, text, 0, text.length, 0)).split(' ')
    return { ranMs: Number(ran) / NS_PER_MS, waitedMs: Number(waited) / NS_PER_MS }
  }
  return {
    read: () => {
      try {
        return files.length === 0 ? undefined : files.map(timesOf)
      } catch {
        close() // a thread that has ended
        return undefined
      }
    },
    close,
  }
}
