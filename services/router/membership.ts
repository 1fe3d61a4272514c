// The cluster as this router sees it, from heartbeats, and from pings where these stay out (`probes.ts`).
//
// Invariants
//   M1  One row per incarnation of a process; a new incarnation of an id makes the older one dead.
//   M2  Silence makes a process suspect, then dead; a dead incarnation leaves the table after a minute.
//   M3  A heartbeat or an answered ping brings a suspect (never a replaced incarnation) back.
//   M4  A suspect keeps its work until more than silence speaks against it: a ping that was not answered either, or
//       somebody who asked it in vain.
//   M5  Silence is what this router would have heard (`lib/actor/silence.ts`): its own stall or lost connection is
//       nobody's.

import { HEARTBEAT_MS } from '../../lib/actor/heartbeat.js'
import { createSilenceWatch } from '../../lib/actor/silence.js'
import type { Heartbeat, Role } from '../../lib/wire/messages.js'
import type { ProcessStatus } from './engine.js'

export const PING_AFTER_MS = 2 * HEARTBEAT_MS
export const SUSPECT_AFTER_MS = 3 * HEARTBEAT_MS
export const OUT_AFTER_MS = 2_000
export const DEAD_AFTER_MS = 8_000
const FORGET_AFTER_MS = 60_000
const ACCUSED_MS = 2_000

interface Member {
  readonly heartbeat: Heartbeat
  readonly state: ProcessStatus['state']
  readonly isOut: boolean // a suspect that gets no more work
  readonly isUnanswering: boolean // it did not answer a ping since it was heard last
}

/** What a process may be given: work, only what it has already, or nothing. A suspect may keep its duty (M4). */
export type Duty = 'ready' | 'draining' | 'none'

export interface Membership {
  observe(heartbeat: Heartbeat, nowMs: number): void
  /** Ages the table; call it a few times a second. */
  tick(nowMs: number): void
  /** Somebody asked the process in vain: no more work until it is heard of again. */
  suspect(id: string): void
  /** Expert workers that an attention worker found late: to be asked last for a while. */
  accuse(ids: readonly string[], nowMs: number): void
  isAccused(id: string, nowMs: number): boolean
  /** Processes that have been silent for long enough to be pinged. */
  silent(nowMs: number): readonly Heartbeat[]
  /** How a ping ended: `gone` where nobody listens any more. */
  pinged(process: Heartbeat, outcome: 'answered' | 'unanswered' | 'gone', nowMs: number): void
  /** Processes that may be given work, ascending id. */
  live(role: Role): readonly Heartbeat[]
  isLive(id: string): boolean
  /** Whether it does what is asked of it: live, or draining. */
  serves(id: string): boolean
  /** Those of a role that are not dead, in whatever state, ascending id. */
  members(role: Role): readonly { readonly heartbeat: Heartbeat; readonly duty: Duty }[]
  processes(): readonly ProcessStatus[]
  /** Times that a process was silent for so long that it became a suspect. */
  readonly lateHeartbeats: number
  /** Called after every change of the set of live processes or their states. */
  onChange(listener: () => void): void
}

const keyOf = ({ id, incarnation }: Pick<Heartbeat, 'id' | 'incarnation'>): string => `${id} ${incarnation}`

function dutyOf({ heartbeat, state, isOut }: Member): Duty {
  if (state === 'dead' || isOut) return 'none'
  return heartbeat.state === 'ready' || heartbeat.state === 'draining' ? heartbeat.state : 'none'
}

/** `own`: the process itself, whose heartbeats come back to it. */
export function createMembership(own?: Pick<Heartbeat, 'id' | 'incarnation'>): Membership {
  const members = new Map<string, Member>() // by key
  const accused = new Map<string, number>() // id → until when
  const silence = createSilenceWatch(own && keyOf(own))
  const listeners: (() => void)[] = []
  let lateHeartbeats = 0
  const changed = (): void => listeners.forEach((listener) => listener())

  /** Returns whether anything that listeners care for is different. */
  const update = (key: string, changes: Partial<Member>): boolean => {
    const member = members.get(key)
    if (member === undefined) return false
    const next = { ...member, ...changes }
    members.set(key, next)
    return next.state !== member.state || next.isOut !== member.isOut
  }

  const comeBack = (heartbeat: Heartbeat): Member => ({
    heartbeat,
    state: heartbeat.state === 'stopped' ? 'dead' : heartbeat.state,
    isOut: false,
    isUnanswering: false,
  })

  const observe: Membership['observe'] = (heartbeat, nowMs) => {
    const key = keyOf(heartbeat)
    const known = members.get(key)
    silence.heard(key, nowMs)
    if (known?.state === 'dead' && hasNewer(heartbeat, known)) return // it still beats, and is not forgotten meanwhile
    let hasChanged = false
    for (const [otherKey, other] of members) {
      if (otherKey !== key && other.heartbeat.id === heartbeat.id && known === undefined) {
        hasChanged = update(otherKey, { state: 'dead' }) || hasChanged
      }
    }
    const member = comeBack(heartbeat)
    members.set(key, member)
    const isSame = known?.state === member.state && known.heartbeat.shards.length === heartbeat.shards.length
    if (hasChanged || !isSame) changed()
  }

  const hasNewer = (heartbeat: Heartbeat, known: Member): boolean =>
    [...members.values()].some(
      (other) => other !== known && other.heartbeat.id === heartbeat.id && other.state !== 'dead',
    )

  const age = (key: string, member: Member, silentMs: number): boolean => {
    if (member.state === 'dead') {
      if (silentMs > FORGET_AFTER_MS) {
        members.delete(key)
        silence.forget(key)
      }
      return false
    }
    if (silentMs > DEAD_AFTER_MS) return update(key, { state: 'dead' })
    if (silentMs <= SUSPECT_AFTER_MS) return false
    if (member.state !== 'suspect') lateHeartbeats += 1
    const isOut = member.isOut || (silentMs > OUT_AFTER_MS && member.isUnanswering)
    return update(key, { state: 'suspect', isOut })
  }

  const isReady = (member: Member): boolean => dutyOf(member) === 'ready'

  return {
    observe,
    tick: (nowMs) => {
      let hasChanged = false
      for (const [key, member] of members) hasChanged = age(key, member, silence.silentMs(key, nowMs)) || hasChanged
      for (const [id, untilMs] of accused) if (untilMs < nowMs) accused.delete(id)
      if (hasChanged) changed()
    },
    suspect: (id) => {
      let hasChanged = false
      for (const [key, member] of members) {
        if (member.heartbeat.id === id && isReady(member))
          hasChanged = update(key, { state: 'suspect', isOut: true }) || hasChanged
      }
      if (hasChanged) changed()
    },
    accuse: (ids, nowMs) => {
      for (const id of ids) accused.set(id, nowMs + ACCUSED_MS)
    },
    isAccused: (id, nowMs) => (accused.get(id) ?? -Infinity) >= nowMs,
    silent: (nowMs) =>
      [...members]
        .filter(([key, { state }]) => state !== 'dead' && silence.silentMs(key, nowMs) >= PING_AFTER_MS)
        .map(([, { heartbeat }]) => heartbeat),
    pinged: (heartbeat, outcome, nowMs) => {
      const key = keyOf(heartbeat)
      const member = members.get(key)
      if (member === undefined || member.state === 'dead') return
      if (outcome === 'answered') {
        silence.heard(key, nowMs)
        if (update(key, comeBack(member.heartbeat))) changed()
      } else if (silence.silentMs(key, nowMs) >= PING_AFTER_MS) {
        // it was not heard of meanwhile
        if (update(key, outcome === 'gone' ? { state: 'dead' } : { isUnanswering: true })) changed()
      }
    },
    live: (role) =>
      [...members.values()]
        .filter((member) => member.heartbeat.role === role && isReady(member))
        .map((member) => member.heartbeat)
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    serves: (id) => [...members.values()].some((member) => member.heartbeat.id === id && dutyOf(member) !== 'none'),
    members: (role) =>
      [...members.values()]
        .filter((member) => member.heartbeat.role === role && member.state !== 'dead')
        .map((member) => ({ heartbeat: member.heartbeat, duty: dutyOf(member) }))
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
        ...(heartbeat.metrics !== undefined && { metrics: heartbeat.metrics }),
      })),
    get lateHeartbeats() {
      return lateHeartbeats
    },
    onChange: (listener) => {
      listeners.push(listener)
    },
  }
}
