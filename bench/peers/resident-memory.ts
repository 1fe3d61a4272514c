// Resident memory of processes, from Linux's /proc.

import { readdirSync, readFileSync } from 'node:fs'
import type { ResidentMemory } from './protocol.js'

/** Sums over the processes; one that has ended counts nothing. */
export function residentMemory(pids: readonly number[]): ResidentMemory {
  const all = pids.map((pid) => parseStatus(readProc(`${pid}/status`)))
  return {
    anonymousBytes: all.reduce((sum, { anonymousBytes }) => sum + anonymousBytes, 0),
    totalBytes: all.reduce((sum, { totalBytes }) => sum + totalBytes, 0),
  }
}

/** Reads `RssAnon` and `VmRSS` from the text of /proc/PID/status. */
export function parseStatus(status: string): ResidentMemory {
  const kilobytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)
  return { anonymousBytes: kilobytes('RssAnon') * 1024, totalBytes: kilobytes('VmRSS') * 1024 }
}

/** The process, its children, and theirs. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const parent = /^PPid:\s+(\d+)$/m.exec(/^\d+$/.test(name) ? readProc(`${name}/status`) : '')?.[1]
    if (parent !== undefined) parents.set(Number(name), Number(parent))
  }
  const tree = [root]
  for (const member of tree) for (const [pid, parent] of parents) if (parent === member) tree.push(pid) // grows as it is read
  return tree
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8')
  } catch {
    return '' // it has ended
  }
}
