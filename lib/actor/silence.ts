// How long others have been silent, as far as this process can tell: its own heartbeats come back to it over the same bus.
//
// Invariants
//   H1  While this process does not hear itself (it stands still, or its connection is gone), nobody grows silent.
//   H2  When it hears itself again after a gap, everybody starts afresh: what was said meanwhile may be lost.

import { HEARTBEAT_MS } from './heartbeat.js'

const OWN_GAP_MS = 3 * HEARTBEAT_MS

export interface SilenceWatch {
  /** A heartbeat of somebody, or of this process itself. */
  heard(key: string, nowMs: number): void
  /** 0 for somebody who was never heard. */
  silentMs(key: string, nowMs: number): number
  forget(key: string): void
}

/** `ownKey`: under which this process hears itself; absent: its connection is not watched. */
export function createSilenceWatch(ownKey?: string): SilenceWatch {
  const heardMs = new Map<string, number>()

  const isDeaf = (nowMs: number): boolean => {
    const ownMs = ownKey === undefined ? nowMs : heardMs.get(ownKey)
    return ownMs !== undefined && nowMs - ownMs > OWN_GAP_MS
  }

  return {
    heard: (key, nowMs) => {
      if (key === ownKey && isDeaf(nowMs)) for (const other of heardMs.keys()) heardMs.set(other, nowMs)
      heardMs.set(key, nowMs)
    },
    silentMs: (key, nowMs) => (isDeaf(nowMs) ? 0 : nowMs - (heardMs.get(key) ?? nowMs)),
    forget: (key) => void heardMs.delete(key),
  }
}
