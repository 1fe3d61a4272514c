// What the kernel knows of the processes of a cluster, read from /proc: whose child, how much memory, how many files.
//
// Invariants
//   T1  A process is named by its id and its start: an id that the kernel gave to another process is another process.
//   T2  What was once seen below the watched process is remembered, also after its parent is gone.

import { existsSync, readdirSync, readFileSync } from 'node:fs'

const LOOK_EVERY_MS = 250
const PAGE_BYTES = 4096
const TICK_MS = 10

interface Stat {
  readonly pid: number
  readonly command: string
  readonly state: string
  readonly parent: number
  readonly start: string
  readonly rssBytes: number
  readonly cpuMs: number // used so far, by all its threads
}

export const hasProcessTable = (): boolean => existsSync('/proc/self/stat')

/** undefined where there is no such process, or it only waits to be buried. */
export function readStat(pid: number): Stat | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined // ended while we looked
  }
  const [, command = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(text) ?? []
  const fields = rest.split(' ')
  const [state = '', parent = '0'] = fields
  if (state === 'Z' || state === 'X') return undefined
  const [userTicks = '0', systemTicks = '0'] = fields.slice(11)
  const [start = '', , rss = '0'] = fields.slice(19)
  const cpuMs = (Number(userTicks) + Number(systemTicks)) * TICK_MS
  return { pid, command, state, parent: Number(parent), start, rssBytes: Number(rss) * PAGE_BYTES, cpuMs }
}

/** The process and everything below it. */
export function familyOf(root: number): Stat[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readStat(Number(name)) ?? [])
  const family = all.filter(({ pid }) => pid === root)
  for (let at = 0; at < family.length; at++) {
    family.push(...all.filter(({ parent }) => parent === family[at]?.pid))
  }
  return family
}

/** The member of the family that was started under this id (`BANYAN_ID`). */
export const findById = (root: number, id: string): Stat | undefined =>
  familyOf(root).find(({ pid }) => environmentOf(pid).includes(`BANYAN_ID=${id}`))

function environmentOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return [] // ended while we looked
  }
}

/** Files, sockets and pipes that the process holds open; 0 where it is gone. */
export function numOpenFiles(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return 0
  }
}

export interface ProcessWatch {
  /** Those ever seen that still run. */
  alive(): readonly Stat[]
  stop(): void
}

/** Remembers everything that appears below these processes until stopped. */
export function watchProcesses(roots: () => readonly number[]): ProcessWatch {
  const seen = new Map<string, Stat>() // 'pid start'
  const look = (): void => {
    for (const stat of roots().flatMap(familyOf)) seen.set(`${stat.pid} ${stat.start}`, stat)
  }
  look()
  const timer = setInterval(look, LOOK_EVERY_MS)
  return {
    alive: () => [...seen.values()].filter(({ pid, start }) => readStat(pid)?.start === start),
    stop: () => clearInterval(timer),
  }
}
