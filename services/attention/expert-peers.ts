// What an attention worker knows of the expert workers from their answers: how fast they are, and whom to ask last.
//
// Invariants
//   E1  Being avoided excludes nobody: where a worker is the only holder of a shard it is asked.
//   E2  An avoided worker is asked first again when it has shown a sign of life and its pause is over; the pause doubles
//       with every time that it was late, until an answer comes in time.
//   E3  Second questions are at most a twentieth of the calls, and a small burst.

import { pingAddress, pingFrom } from '../../lib/actor/ping.js'
import type { ActorSystem } from '../../lib/actor/actor.js'
import type { AttentionMetrics } from './metrics.js'
import { createReplyTimes, type ReplyTimes } from './reply-times.js'

const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 30_000
const PING_TIMEOUT_MS = 1_000
const HEDGES_PER_CALL = 0.05
const HEDGE_BURST = 10
const NOBODY: readonly string[] = []

export interface ExpertPeers {
  /** From when on an answer is late. */
  lateMs(worker: string, rows: number): number
  /** From when on it is missed, if the worker gives no other sign of life. */
  overdueMs(worker: string, rows: number): number
  answered(worker: string, rows: number, tookMs: number): void
  /** It gave no sign of life for so long: should it have computed, the next answer has more time. */
  missed(worker: string, rows: number, waitedMs: number): void
  /** It was late where another was not, or did not answer at all. */
  avoid(worker: string): void
  /** Whom to ask last now. Those who may be back are pinged; those who hold nothing any more are forgotten. */
  beginStep(replicas: readonly (readonly string[])[]): readonly string[]
  avoided(): readonly string[]
  /** Whether the budget allows a second question; takes it from there. */
  takeHedge(): boolean
  hedgeWon(): void
  /** A call is made again: it was lost on the way, or its worker has failed. */
  retried(why: 'lost' | 'failed'): void
  /** What the heartbeat says of it. */
  readonly load: { readonly hedges: number; readonly hedgesWon: number }
}

interface Peer {
  readonly times: ReplyTimes
  pauseMs: number // of the next time; 0: it answers in time
  avoidedUntilMs: number
  isSilent: boolean // no sign of life since it was avoided
  isPinged: boolean
}

export interface PeersOptions {
  readonly hedges: boolean // whether late calls are asked for twice
  readonly metrics?: Pick<AttentionMetrics, 'answered' | 'forgotten' | 'retried'> | undefined
}

export function createExpertPeers(
  system: ActorSystem,
  { hedges: mayHedge, metrics }: PeersOptions = { hedges: true },
): ExpertPeers {
  const { clock } = system
  const peers = new Map<string, Peer>()
  let budget = HEDGE_BURST
  let hedges = 0
  let hedgesWon = 0

  const peerOf = (worker: string): Peer => {
    const known = peers.get(worker)
    if (known !== undefined) return known
    const peer = { times: createReplyTimes(), pauseMs: 0, avoidedUntilMs: 0, isSilent: false, isPinged: false }
    peers.set(worker, peer)
    return peer
  }

  const ping = async (worker: string, peer: Peer): Promise<void> => {
    peer.isPinged = true
    try {
      await system.ask(pingAddress(worker), pingFrom('attention'), { timeoutMs: PING_TIMEOUT_MS })
      peer.isSilent = false
    } catch {
      // silent as before: the next step asks again
    } finally {
      peer.isPinged = false
    }
  }

  const forget = (worker: string): void => {
    peers.delete(worker)
    metrics?.forgotten(worker)
  }

  const avoided = (): readonly string[] => {
    if (peers.size === 0) return NOBODY
    const nowMs = clock.monotonicMs()
    return [...peers]
      .filter(([, { isSilent, avoidedUntilMs }]) => isSilent || nowMs < avoidedUntilMs)
      .map(([worker]) => worker)
  }

  return {
    lateMs: (worker, rows) => peerOf(worker).times.lateMs(rows),
    overdueMs: (worker, rows) => peerOf(worker).times.overdueMs(rows),
    missed: (worker, rows, waitedMs) => peerOf(worker).times.observe(rows, waitedMs),
    answered: (worker, rows, tookMs) => {
      metrics?.answered(worker, rows, tookMs)
      const peer = peerOf(worker)
      if (tookMs <= peer.times.lateMs(rows)) peer.pauseMs = 0
      peer.times.observe(rows, tookMs)
      peer.isSilent = false
      budget = Math.min(HEDGE_BURST, budget + HEDGES_PER_CALL)
    },
    avoid: (worker) => {
      const peer = peerOf(worker)
      peer.pauseMs = Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS, 2 * peer.pauseMs))
      peer.avoidedUntilMs = clock.monotonicMs() + peer.pauseMs
      peer.isSilent = true
    },
    beginStep: (replicas) => {
      const holds = (worker: string): boolean => replicas.some((holders) => holders.includes(worker))
      for (const [worker, peer] of peers) {
        if (!holds(worker)) forget(worker)
        else if (peer.isSilent && !peer.isPinged) void ping(worker, peer)
      }
      return avoided()
    },
    avoided,
    takeHedge: () => {
      if (!mayHedge || budget < 1) return false
      budget -= 1
      hedges += 1
      return true
    },
    hedgeWon: () => {
      hedgesWon += 1
    },
    retried: (why) => metrics?.retried(why),
    get load() {
      return { hedges, hedgesWon }
    },
  }
}
