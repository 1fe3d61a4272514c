// Choices that end before they have a sequence (the journal does not answer, or their client leaves while it is written)
// are counted like those that end in one.

import type { Clock } from '../../../lib/actor/actor.js'
import type { RequestRecord } from '../requests.js'
import type { RequestMetrics } from './request-metrics.js'

type Ended = Pick<RequestRecord, 'log' | 'sequences' | 'runsAt' | 'numOpen' | 'numChoices' | 'timeline'>

export interface UnstartedCount {
  /** This router has let it in, and counted its prompt. */
  readonly accepted: (record: Ended) => void
  readonly ended: (record: Ended) => void
}

export function createUnstartedCount(metrics: Pick<RequestMetrics, 'finished'>, clock: Clock): UnstartedCount {
  const open = new WeakSet<Ended>()
  return {
    accepted: (record) => void open.add(record),
    ended: (record) => {
      const { log, sequences, runsAt, numOpen, numChoices, timeline } = record
      const isMine = open.delete(record) && runsAt === undefined // else the router that ran it has counted it
      if (!isMine || log.error === undefined || sequences.length > 0) return
      const reason = log.error.code === 'cancelled' ? 'abort' : 'error'
      const tookMs = clock.monotonicMs() - timeline.beganMs
      const numUncounted = numOpen === 0 ? numChoices : numOpen // 0 before its first run here
      for (let i = 0; i < numUncounted; i++) metrics.finished(reason, tookMs)
    },
  }
}
