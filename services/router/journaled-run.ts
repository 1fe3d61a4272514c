// Keeps the journal in step with a request that runs here: its tokens at commit points, its end. Writes of one request
// follow each other; none is waited for by a step.
//
// Invariants
//   J4  Between two commit points at most COMMIT_TOKENS tokens come, while the store answers; without it the request
//       goes on, and the last state is written when it is back.
//   J5  Once overtaken nothing is written any more.

import type { Clock } from '../../lib/actor/actor.js'
import { pause } from '../../lib/actor/until.js'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import { isOvertaken, isSameOwner, type Journal, type JournalEntry, type JournalRecord } from './journal.js'

const COMMIT_TOKENS = 64
const RETRY_MS = 250
const MAX_TRIES = 120 // of the last write

type Ending = Pick<JournalRecord, 'state' | 'error'>

export interface JournaledRun {
  readonly entry: JournalEntry
  /** So many more tokens were emitted. */
  tokens(count: number): void
  /** The request ended here; written with the tokens at that time. */
  end(ending: Ending): void
  /** Nothing more is written. */
  stop(): void
}

export interface JournaledRunOptions {
  readonly journal: Journal
  readonly clock: Clock
  readonly logger: Logger
  readonly entry: JournalEntry
  readonly outputs: () => JournalRecord['outputs']
  /** This router goes: a write that fails is not tried again. */
  readonly isLeaving: () => boolean
  /** Another router has taken the request. */
  readonly onOvertaken: () => void
}

export function createJournaledRun(options: JournaledRunOptions): JournaledRun {
  const { journal, clock, logger } = options
  let { entry } = options
  let numUnwritten = 0
  let ending: Ending | undefined
  let isWriting = false
  let isStopped = false

  const write = async (): Promise<void> => {
    isWriting = true
    for (let tries = 1; !isStopped; tries++) {
      const last = ending
      numUnwritten = 0
      try {
        entry = await journal.change(entry, { outputs: options.outputs(), ...last })
        if (last !== undefined) isStopped = true
        break
      } catch (error) {
        if (isOvertaken(error) && !(await isStillOurs())) break
        if (tries === MAX_TRIES || options.isLeaving() || (ending === undefined && !isOvertaken(error))) {
          const { code, message } = ClusterError.from(error)
          logger.warn({ request: entry.record.id, code, error: message }, 'the journal was not written')
          isStopped = last !== undefined
          break
        }
        await pause(clock, RETRY_MS)
      }
    }
    isWriting = false
    if (!isStopped && (numUnwritten >= COMMIT_TOKENS || ending !== undefined)) await write()
  }

  /** A write whose answer was lost is found again here, a lost record is made anew; what somebody else wrote ends this run. */
  const isStillOurs = async (): Promise<boolean> => {
    const { id, tenant, owner } = entry.record
    try {
      const found = await journal.load(tenant, id)
      if (found === undefined || isSameOwner(found.record.owner, owner)) {
        entry = { ...entry, revision: found?.revision ?? 0 }
        return true
      }
    } catch {
      return true // out of reach: tried again
    }
    isStopped = true
    options.onOvertaken()
    return false
  }

  return {
    get entry() {
      return entry
    },
    tokens: (count) => {
      numUnwritten += count
      if (numUnwritten >= COMMIT_TOKENS && !isWriting && !isStopped) void write()
    },
    end: (how) => {
      ending = how
      if (!isWriting && !isStopped) void write()
    },
    stop: () => {
      isStopped = true
    },
  }
}
