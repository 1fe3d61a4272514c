// Asks a worker and looks after it meanwhile: a worker that died or fell silent is told from one that is only slow.
//
// Invariants
//   K1  A worker that answers pings, and has the question, is waited for until the deadline, however slow it is. Where
//       question or answer were lost on the way it says so, round after round, and the question may be asked again.
//   K2  Silence is counted in rounds, never by the clock: a stall of this process, in which it could not have read an
//       answer, counts as one round.
//   K3  A ping that could not be sent says nothing about the worker.

import { ClusterError } from '../errors.js'
import type { MessageKind, MessageOf } from '../wire/messages.js'
import type { ActorSystem, AskOptions, Question } from './actor.js'
import { linkedSignal } from './linked-signal.js'
import { NOT_IN_HAND, pingAddress, pingFrom } from './ping.js'

const ROUND_MS = 200
const SILENT_ROUNDS = 7 // without a sign of life, after the first ping
const LOST_ROUNDS = 3 // in a row in which the worker does not have the question
const PING_TIMEOUT_MS = 1_000

/** The second mailbox of a worker: answered while the first one works. */
export const controlAddress = (worker: string): string => `${worker}.control`

/** An expert worker's mailbox for shards, which take long to load. */
export const placementAddress = (worker: string): string => `${worker}.placement`

export interface AskAliveOptions extends AskOptions {
  /** How long the answer may well take: before that a silent worker is not given up. */
  readonly overdueMs: number
}

/** Throws `unavailable` at once where nobody listens any more, and (reason `SILENT`, `LOST`) where an overdue worker is silent, or does not have the question. */
export const askWhileAlive = <K extends MessageKind, R extends MessageKind>(
  system: ActorSystem,
  worker: string,
  message: Question<K, R>,
  options: AskAliveOptions,
): Promise<MessageOf<R>> => beginAsk(system, worker, message, options).answer

export interface Asking<A> {
  readonly answer: Promise<A>
  /** The answer is not wanted any more: it fails with `cancelled`, and `read` sees nothing from now on. */
  abandon(this: void): void
}

/** The same for who may lose interest. */
export function beginAsk<K extends MessageKind, R extends MessageKind>(
  system: ActorSystem,
  worker: string,
  message: Question<K, R>,
  options: AskAliveOptions,
): Asking<MessageOf<R>> {
  const linked = linkedSignal([options.signal])
  let failure: ClusterError | undefined
  let isDone = false
  let numPings = 0 // under way
  let silentRounds = 0
  let lostRounds = 0
  const id = system.newMessageId()
  let cancelRound = system.clock.after(ROUND_MS, () => round(1))

  const giveUp = (why: string, reason: string): void => {
    if (isDone) return
    failure ??= new ClusterError('unavailable', `${worker}: ${why}`, { details: { reason } })
    linked.abort(failure)
  }
  const ping = async (): Promise<void> => {
    numPings += 1
    try {
      const options = { timeoutMs: PING_TIMEOUT_MS, signal: linked.signal }
      await system.ask(pingAddress(worker), pingFrom(worker, id), options)
      silentRounds = lostRounds = 0
    } catch (error) {
      const { code, details } = ClusterError.from(error)
      if (details.reason === 'NO_RESPONDERS') giveUp('it died while it worked', 'NO_RESPONDERS')
      else if (code !== 'deadline_exceeded') silentRounds = 0
      if (details.reason === NOT_IN_HAND) lostRounds += 1
    } finally {
      numPings -= 1
    }
  }
  const round = (number: number): void => {
    if (number > 1) silentRounds += 1
    const isOverdue = number * ROUND_MS >= options.overdueMs
    if (isOverdue && silentRounds >= SILENT_ROUNDS) {
      giveUp(`no answer, and no sign of life for ${SILENT_ROUNDS * ROUND_MS} ms`, 'SILENT')
      return
    }
    if (isOverdue && lostRounds >= LOST_ROUNDS) {
      giveUp('it lives, and question or answer were lost on the way', 'LOST')
      return
    }
    void ping()
    cancelRound = system.clock.after(ROUND_MS, () => round(number + 1))
  }
  const ask = async (): Promise<MessageOf<R>> => {
    try {
      const { timeoutMs, traceparent } = options
      return await system.ask(worker, message, { timeoutMs, signal: linked.signal, traceparent, id })
    } catch (error) {
      throw failure ?? error
    } finally {
      isDone = true
      cancelRound()
      linked.release()
      if (numPings > 0) linked.abort() // costs 50 µs, so only where somebody still waits
    }
  }

  return { answer: ask(), abandon: () => void (isDone || linked.abort()) }
}
