// Who is asked for which rows of a layer, and who else when an answer is late or does not come. Expert FFNs are pure and
// every replica gives the same bits, so the same rows may be asked for twice: the first answer wins.
//
// Invariants
//   F1  A worker that is late is asked beside another, never excluded; only one that failed is (it died, is silent, or
//       refused).
//   F2  Resolves when every partial sum is in its place; then, or when it throws, nobody writes there any more.
//   F3  Second questions keep to a budget (`expert-peers.ts`).

import type { Clock } from '../../lib/actor/actor.js'
import type { Asking } from '../../lib/actor/ask-while-alive.js'
import { linkedSignal } from '../../lib/actor/linked-signal.js'
import { pause } from '../../lib/actor/until.js'
import type { ExpertCall } from '../../lib/compute/expert-call.js'
import { ClusterError } from '../../lib/errors.js'
import { liveReplica, type DispatchContext } from './dispatch-context.js'
import { askWorker, computeNear, numRowsOf, type Work } from './expert-frame.js'

const HALF_STEP_MS = 25
const LOST_ON_THE_WAY: ReadonlySet<string> = new Set(['LOST', 'DISCONNECTED'])
const MAX_TRIES = 3
const RETRY_MS = 50

type ByWorker = ReadonlyMap<string, readonly ExpertCall[]>

/** Sends the rows of all calls to the workers that this step has for them. Throws `unavailable` where it has none. */
export function askExperts(context: DispatchContext, layer: number, work: Work): Promise<void> {
  const byWorker = groupByWorker(work.calls, (call) => chooseWorker(context, layer, call))
  return askAll(context, layer, work, byWorker)
}

async function askAll(context: DispatchContext, layer: number, work: Work, byWorker: ByWorker): Promise<void> {
  // A worker of this process computes when it is asked: the frames to the others are under way by then.
  const isNear = (worker: string): number => (context.neighbours.has(worker) ? 1 : 0)
  const inOrder = [...byWorker].sort(([a], [b]) => isNear(a) - isNear(b))
  const asked = inOrder.map(([worker, calls]) => askOrFailOver(context, layer, worker, { ...work, calls }))
  const outcomes = await Promise.allSettled(asked)
  const failure = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failure !== undefined) throw ClusterError.from(failure.reason)
}

function groupByWorker(calls: readonly ExpertCall[], choose: (call: ExpertCall) => string): ByWorker {
  const byWorker = new Map<string, ExpertCall[]>()
  for (const call of calls) {
    const worker = choose(call)
    byWorker.set(worker, [...(byWorker.get(worker) ?? []), call])
  }
  return byWorker
}

function chooseWorker(context: DispatchContext, layer: number, call: ExpertCall): string {
  const worker = liveReplica(context, call.shard)
  if (worker !== undefined) return worker
  throw new ClusterError(
    'unavailable',
    `layer ${layer}, expert ${call.expert}: no live replica of shard ${call.shard}`,
    {
      details: {
        reason: 'EXPERT_UNAVAILABLE',
        layer: String(layer),
        expert: String(call.expert),
        shard: String(call.shard),
      },
    },
  )
}

/** The same rows go to another replica when a worker does not answer; what was lost on the way is asked again first. */
async function askOrFailOver(
  context: DispatchContext,
  layer: number,
  worker: string,
  work: Work,
  tries = 1,
): Promise<void> {
  try {
    context.used.add(worker)
    const neighbour = context.neighbours.get(worker)
    if (neighbour !== undefined) computeNear(context.system, neighbour, layer, work)
    else await askHedged(context, layer, worker, work)
  } catch (error) {
    const failure = ClusterError.from(error)
    if (
      failure.code !== 'unavailable' &&
      failure.code !== 'deadline_exceeded' &&
      failure.code !== 'failed_precondition'
    )
      throw failure
    if (context.signal.aborted) throw failure
    if (LOST_ON_THE_WAY.has(failure.details.reason ?? '')) {
      // That says nothing about the worker: the step is tried again before anybody is suspected.
      if (tries === MAX_TRIES) throw failure
      context.note?.('banyan.expert.retried', {
        'banyan.worker': worker,
        'banyan.reason': failure.details.reason ?? '',
      })
      context.peers.retried('lost')
      if (tries > 1) await pause(context.system.clock, RETRY_MS)
      return askOrFailOver(context, layer, worker, work, tries + 1)
    }
    context.note?.('banyan.expert.failed_over', { 'banyan.worker': worker, 'error.type': failure.code })
    context.failed.add(worker)
    context.peers.avoid(worker)
    context.peers.retried('failed')
    await askExperts(context, layer, work)
  }
}

/** Asks a worker, and where it is late others beside it, or itself again: the first answer wins. */
function askHedged(context: DispatchContext, layer: number, worker: string, work: Work): Promise<void> {
  const { system, peers } = context
  const numRows = numRowsOf(work)
  const lateMs = peers.lateMs(worker, numRows)
  return new Promise((resolve, reject) => {
    const first = askWorker(context, layer, worker, work)
    let others: Asking<void> | undefined
    let again: Asking<void> | undefined
    const end = (settle: () => void): void => {
      cancel()
      for (const question of [first, others, again]) question?.abandon() // who is still asked has lost (F2)
      settle()
    }
    const enter = (question: Asking<void>): Asking<void> => {
      question.answer.then(
        () => end(resolve),
        () => undefined, // the first one stands
      )
      return question
    }
    /** Nobody else has these shards: the question may have been lost on the way, and is asked once more. */
    const askAgain = (): void => {
      if (!peers.takeHedge()) return
      context.note?.('banyan.expert.asked_again', { 'banyan.worker': worker })
      again = enter(askWorker(context, layer, worker, work))
    }
    let cancel = afterRounds(system.clock, lateMs, () => {
      const asked = askOthers(context, layer, worker, work)
      if (asked !== undefined) others = enter(asked)
      else cancel = afterRounds(system.clock, peers.overdueMs(worker, numRows) - lateMs, askAgain)
    })
    first.answer.then(
      () => end(resolve),
      (error: unknown) => {
        const failure = ClusterError.from(error)
        cancel()
        if (others === undefined) end(() => reject(failure))
        else others.answer.catch(() => end(() => reject(failure)))
      },
    )
  })
}

/** Asks others that are not slow for all rows, where there are some and the budget allows it. */
function askOthers(context: DispatchContext, layer: number, late: string, work: Work): Asking<void> | undefined {
  const { slow, failed, peers } = context
  const others = { ...context, failed: new Set([...failed, ...slow, late]) }
  if (work.calls.some(({ shard }) => liveReplica(others, shard) === undefined) || !peers.takeHedge()) return undefined
  const byWorker = groupByWorker(work.calls, (call) => chooseWorker(others, layer, call))
  context.note?.('banyan.expert.hedged', { 'banyan.worker': late, 'banyan.others': [...byWorker.keys()] })
  const race = linkedSignal([context.signal])
  const ask = async (): Promise<void> => {
    try {
      await askAll({ ...context, signal: race.signal }, layer, work, byWorker)
    } finally {
      race.release()
    }
    context.note?.('banyan.expert.hedge_won', { 'banyan.worker': late })
    peers.hedgeWon()
    peers.avoid(late)
    slow.add(late)
  }
  return { answer: ask(), abandon: () => race.abort() }
}

/** In two halves: what a stall of this process kept from being read is read between them. */
function afterRounds(clock: Clock, delayMs: number, run: () => void): () => void {
  const halfMs = HALF_STEP_MS * Math.ceil(delayMs / (2 * HALF_STEP_MS)) // timers of equal delays are kept cheaply
  let cancel = clock.after(halfMs, () => {
    cancel = clock.after(halfMs, run)
  })
  return () => cancel()
}
