// The cluster as this router sees it, from heartbeats alone.
//
// Invariants
//   M1  One row per incarnation of a process; a new incarnation of an id makes the older one dead.
//   M2  Silence makes a process suspect, then dead; a dead incarnation leaves the table after a minute.
//   M3  A heartbeat brings a suspect (never a replaced incarnation) back.

import type { Heartbeat, Role } from '../../lib/wire/messages.js'
import type { ProcessStatus } from './engine.js'

export const SUSPECT_AFTER_MS = 2_000
export const DEAD_AFTER_MS = 8_000
const FORGET_AFTER_MS = 60_000

export interface Member {
  readonly heartbeat: Heartbeat
  readonly seenMs: number
  readonly state: ProcessStatus['state']
}

export interface Membership {
  observe(heartbeat: Heartbeat, nowMs: number): void
  /** Ages the table; call it a few times a second. */
  tick(nowMs: number): void
  /** Somebody found the process not answering (no responders): suspect at once. */
  suspect(id: string): void
  /** Processes that may be given work, ascending id. */
  live(role: Role): readonly Heartbeat[]
  isLive(id: string): boolean
  /** Whether it does what is asked of it: live, or draining. */
  serves(id: string): boolean
  /** Those of a role that are not dead, in whatever state, ascending id. */
  members(role: Role): readonly Member[]
  processes(): readonly ProcessStatus[]
  /** Called after every change of the set of live processes or their states. */
  onChange(listener: () => void): void
}

export function createMembership(): Membership {
  const members = new Map<string, Member>() // 'id incarnation'
  const listeners: (() => void)[] = []
  const changed = (): void => listeners.forEach((listener) => listener())

  const update = (key: string, member: Member, state: Member['state']): boolean => {
    if (member.state === state) return false
    members.set(key, { ...member, state })
    return true
  }

  const observe: Membership['observe'] = (heartbeat, nowMs) => {
    const key = `${heartbeat.id} ${heartbeat.incarnation}`
    const known = members.get(key)
    if (known?.state === 'dead' && hasNewer(heartbeat, known)) {
      members.set(key, { ...known, seenMs: nowMs }) // it still beats: once forgotten it would pass for a new one
      return
    }
    let hasChanged = false
    for (const [otherKey, other] of members) {
      if (otherKey !== key && other.heartbeat.id === heartbeat.id && known === undefined) {
        hasChanged = update(otherKey, other, 'dead') || hasChanged
      }
    }
    const state = heartbeat.state === 'stopped' ? 'dead' : heartbeat.state
    members.set(key, { heartbeat, seenMs: nowMs, state })
    const isSame = known?.state === state && known.heartbeat.shards.length === heartbeat.shards.length
    if (hasChanged || !isSame) changed()
  }

  const hasNewer = (heartbeat: Heartbeat, known: Member): boolean =>
    [...members.values()].some(
      (other) => other !== known && other.heartbeat.id === heartbeat.id && other.state !== 'dead',
    )

  const tick = (nowMs: number): void => {
    let hasChanged = false
    for (const [key, member] of members) {
      const silentMs = nowMs - member.seenMs
      if (member.state === 'dead') {
        if (silentMs > FORGET_AFTER_MS) members.delete(key)
      } else if (silentMs > DEAD_AFTER_MS) hasChanged = update(key, member, 'dead') || hasChanged
      else if (silentMs > SUSPECT_AFTER_MS) hasChanged = update(key, member, 'suspect') || hasChanged
    }
    if (hasChanged) changed()
  }

  const isReady = (member: Member): boolean => member.state === 'ready'

  return {
    observe,
    tick,
    suspect: (id) => {
      let hasChanged = false
      for (const [key, member] of members) {
        if (member.heartbeat.id === id && member.state === 'ready')
          hasChanged = update(key, member, 'suspect') || hasChanged
      }
      if (hasChanged) changed()
    },
    live: (role) =>
      [...members.values()]
        .filter((member) => member.heartbeat.role === role && isReady(member))
        .map((member) => member.heartbeat)
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    serves: (id) =>
      [...members.values()].some(
        ({ heartbeat, state }) => heartbeat.id === id && (state === 'ready' || state === 'draining'),
      ),
    members: (role) =>
      [...members.values()]
        .filter((member) => member.heartbeat.role === role && member.state !== 'dead')
        .sort((a, b) => (a.heartbeat.id < b.heartbeat.id ? -1 : 1)),
    isLive: (id) => [...members.values()].some((member) => member.heartbeat.id === id && isReady(member)),
    processes: () =>
      [...members.values()].map(({ heartbeat, state }) => ({
        role: heartbeat.role,
        id: heartbeat.id,
        pid: heartbeat.pid,
        state,
        deviceClass: heartbeat.deviceClass,
        shards: heartbeat.shards,
        load: heartbeat.load,
      })),
    onChange: (listener) => {
      listeners.push(listener)
    },
  }
}
