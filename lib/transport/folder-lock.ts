// A folder belongs to one process at a time: a file in it names the process, and is taken over from a dead one.
//
// Invariants
//   K1  The file appears with its content, at once (link), so that nobody reads half of it.
//   K2  Only one process at a time judges a dead owner's file, so that no two take it over.

import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../errors.js'
import { errorCode } from './disk.js'

const LOCK = 'journal.lock'
const TAKEOVER = 'journal.lock.takeover'
const TAKEOVER_MS = 10_000 // a takeover takes a moment; one this old died in it

/** Returns what gives the folder back. Throws `failed_precondition` (reason LOCKED) where a living process has it. */
export function lockFolder(folder: string): () => void {
  const lock = join(folder, LOCK)
  const own = join(folder, `${LOCK}.${process.pid}`)
  writeFileSync(own, describe(process.pid), { mode: 0o600 })
  try {
    if (!createFrom(own, lock)) takeOver(folder, own, lock)
  } finally {
    rmSync(own, { force: true })
  }
  return () => rmSync(lock, { force: true })
}

/** False where it exists. */
function createFrom(source: string, target: string): boolean {
  try {
    linkSync(source, target)
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
}

function takeOver(folder: string, own: string, lock: string): void {
  const takeover = join(folder, TAKEOVER)
  const begun = statSync(takeover, { throwIfNoEntry: false })?.mtimeMs
  if (begun !== undefined && Date.now() - begun > TAKEOVER_MS) rmSync(takeover, { force: true })
  if (!createFrom(own, takeover)) throw lockedError(folder, 'another process that takes it over')
  try {
    const owner = readOwner(lock)
    if (owner !== undefined && isAlive(owner)) throw lockedError(folder, `process ${owner.split(' ')[0] ?? ''}`)
    renameSync(takeover, lock)
  } finally {
    rmSync(takeover, { force: true })
  }
}

const lockedError = (folder: string, who: string): ClusterError =>
  new ClusterError('failed_precondition', `journal ${folder}: want a folder of our own, it is in use by ${who}`, {
    details: { reason: 'LOCKED' },
  })

function readOwner(lock: string): string | undefined {
  try {
    return readFileSync(lock, 'utf8')
  } catch {
    return undefined // given back meanwhile
  }
}

/** A process and its birth: the same number may name another one later. */
function describe(pid: number): string {
  return `${pid} ${birthOf(pid)}`
}

/** Boot and start time where the system tells them (Linux), else empty. */
function birthOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return `${boot} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''}`
  } catch {
    return ''
  }
}

function isAlive(owner: string): boolean {
  const pid = Number(owner.split(' ')[0])
  if (!Number.isInteger(pid) || pid < 1) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return errorCode(error) === 'EPERM' && describe(pid) === owner
  }
  return describe(pid) === owner
}
