// Processor time of a cluster's processes by role, and of the whole machine, from Linux's /proc.

import { readFileSync } from 'node:fs'
import * as z from 'zod'
import { processTree } from '../peers/resident-memory.js'

export const CLIENT = 'client (this bench)'

/** The kernel counts in these for programs, on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

export interface ClusterProcess {
  readonly pid: number
  readonly role: string
}

/** Seconds since some moment of the past. */
export interface ProcessorTimes {
  readonly byRole: Readonly<Record<string, number>> // of one core
  readonly idle: number // of one core, all cores together
  readonly wall: number
}

const clusterSchema = z.object({
  processes: z.array(z.object({ role: z.string(), pid: z.number(), state: z.string() })),
})

/** Every process below `banyan up`: services by their role, the others by their command. */
export async function clusterProcesses(up: { readonly http: string; readonly pid: number }): Promise<ClusterProcess[]> {
  const { processes } = clusterSchema.parse(await (await fetch(`${up.http}/cluster`)).json())
  const live = processes.filter(({ state }) => state !== 'dead')
  const roles = new Map(live.map(({ pid, role }) => [pid, role]))
  return processTree(up.pid).map((pid) => ({
    pid,
    role: roles.get(pid) ?? (pid === up.pid ? 'supervisor (banyan up)' : parseStat(readStat(pid)).command),
  }))
}

/** The client is this process: its work on the same cores is part of the picture. */
export function readProcessorTimes(processes: readonly ClusterProcess[]): ProcessorTimes {
  const { user, system } = process.cpuUsage() // microseconds
  const byRole: Record<string, number> = { [CLIENT]: (user + system) / 1e6 }
  for (const { pid, role } of processes) {
    byRole[role] = (byRole[role] ?? 0) + parseStat(readStat(pid)).ticks / TICKS_PER_SECOND
  }
  const idle = parseIdleTicks(readFileSync('/proc/stat', 'utf8')) / TICKS_PER_SECOND
  return { byRole, idle, wall: performance.now() / 1000 }
}

/** What passed from one reading to the next. */
export function elapsed(before: ProcessorTimes, after: ProcessorTimes): ProcessorTimes {
  const byRole = Object.entries(after.byRole).map(([role, seconds]) => [role, seconds - (before.byRole[role] ?? 0)])
  return {
    byRole: Object.fromEntries(byRole) as Record<string, number>, // of the pairs above
    idle: after.idle - before.idle,
    wall: after.wall - before.wall,
  }
}

/** The text of /proc/PID/stat: command in parentheses (it may hold some), then fields 3 …, of which 14 and 15 count. */
export function parseStat(text: string): { readonly command: string; readonly ticks: number } {
  const end = text.lastIndexOf(')')
  const fields = text.slice(end + 2).split(' ')
  return { command: text.slice(text.indexOf('(') + 1, end), ticks: Number(fields[11]) + Number(fields[12]) }
}

/** The first line of /proc/stat, all cores: user, nice, system, idle, waiting for disks, … */
export function parseIdleTicks(text: string): number {
  const [, , , idle, waiting] = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '').split(' ').map(Number)
  return (idle ?? NaN) + (waiting ?? NaN)
}

const readStat = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8')
