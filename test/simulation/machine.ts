// A simulated process: one thread of events on the timeline, with a clock, timers and chance of its own. It can be killed
// between any two events or right after any message that it sends, frozen, slowed down, and its wall clock can jump.
//
// Invariants
//   P1  Events of a machine happen one at a time and in order; while it computes or is frozen they wait.
//   P2  Nothing of a dead machine happens: no timer, no message, no continuation. What it waited for never comes.
//   P3  A frozen machine that wakes runs the timers that are due before the messages that have come, as libuv does.

import type { Clock, Random } from '../../lib/actor/actor.js'
import type { Timeline } from './timeline.js'

const EPOCH_MS = Date.UTC(2026, 0, 1)

export type MachineState = 'running' | 'frozen' | 'dead'

export interface Machine {
  readonly id: string
  readonly incarnation: string
  readonly clock: Clock
  readonly random: Random
  readonly state: MachineState
  readonly numTimers: number
  /** When what it sends now leaves: after what it has computed in this event. */
  readonly sendMs: number
  /** Times as long as usual that it computes. */
  slowness: number
  wallOffsetMs: number
  /** Happens in the machine as soon as it can. */
  run(event: () => void, isTimer?: boolean): void
  /** It computes for so long, from where it is in its event. */
  compute(ms: number): void
  /** Called for each message it sends; false: it died before. */
  sends(): boolean
  /** It dies right after sending so many more messages. */
  killAfter(numMessages: number): void
  freeze(): void
  wake(): void
  kill(): void
  onDeath(listener: () => void): void
}

export interface MachineOptions {
  readonly id: string
  readonly incarnation: string
  readonly timeline: Timeline
  readonly random: Random
  /** The machine whose event happens from now on. */
  readonly enter: (machine: Machine) => void
}

interface Waiting {
  readonly event: () => void
  readonly isTimer: boolean
}

export function createMachine({ id, incarnation, timeline, random, enter }: MachineOptions): Machine {
  const timers = new Set<() => void>() // their cancels
  const deathListeners: (() => void)[] = []
  let waiting: Waiting[] = []
  let isWakeDue = false
  let state: MachineState = 'running'
  let busyUntilMs = 0
  let numSendsLeft = Infinity

  const aheadMs = (): number => Math.max(timeline.nowMs, busyUntilMs)

  const happen = (event: () => void): void => {
    enter(machine)
    event()
  }

  const isBusy = (): boolean => state === 'frozen' || busyUntilMs > timeline.nowMs

  const later = (): void => {
    if (isWakeDue || state !== 'running') return
    isWakeDue = true
    timeline.at(busyUntilMs, () => {
      isWakeDue = false
      if (state !== 'running') return
      const next = isBusy() ? undefined : waiting.shift()
      if (next !== undefined) happen(next.event)
      if (waiting.length > 0) later()
    })
  }

  const run: Machine['run'] = (event, isTimer = false) => {
    if (state === 'dead') return
    if (waiting.length === 0 && !isBusy()) return happen(event)
    waiting.push({ event, isTimer })
    later()
  }

  const after: Clock['after'] = (delayMs, event) => {
    if (state === 'dead') return () => undefined
    const cancel = (): void => {
      isCancelled = true
      timers.delete(cancel)
      cancelEvent()
    }
    let isCancelled = false
    const due = aheadMs() + Math.max(0, delayMs)
    const cancelEvent = timeline.at(due, () =>
      run(() => {
        if (isCancelled) return
        timers.delete(cancel)
        event()
      }, true),
    )
    timers.add(cancel)
    return cancel
  }

  const clock: Clock = {
    now: () => Math.floor(EPOCH_MS + aheadMs() + machine.wallOffsetMs),
    monotonicMs: aheadMs,
    after,
    turn: () => new Promise((resolve) => timeline.at(aheadMs(), () => run(resolve))),
  }

  const kill = (): void => {
    if (state === 'dead') return
    state = 'dead'
    waiting = []
    for (const cancel of [...timers]) cancel()
    for (const listener of deathListeners) listener()
  }

  const machine: Machine = {
    id,
    incarnation,
    clock,
    random,
    slowness: 1,
    wallOffsetMs: 0,
    get state() {
      return state
    },
    get numTimers() {
      return timers.size
    },
    get sendMs() {
      return aheadMs()
    },
    run,
    compute: (ms) => {
      busyUntilMs = aheadMs() + ms * machine.slowness
    },
    sends: () => {
      if (state === 'dead') return false
      numSendsLeft -= 1
      // It dies in the middle of its event: that goes on, but nothing of it is seen any more.
      if (numSendsLeft <= 0) kill()
      return true
    },
    killAfter: (numMessages) => {
      numSendsLeft = numMessages
    },
    freeze: () => {
      if (state === 'running') state = 'frozen'
    },
    wake: () => {
      if (state !== 'frozen') return
      state = 'running'
      waiting = [...waiting.filter(({ isTimer }) => isTimer), ...waiting.filter(({ isTimer }) => !isTimer)]
      if (waiting.length > 0) later()
    },
    kill,
    onDeath: (listener) => {
      deathListeners.push(listener)
    },
  }
  return machine
}
