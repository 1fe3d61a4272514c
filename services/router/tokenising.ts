// Tokenises prompts beside everything else that a router does: long ones in turns with it.
//
// Invariants
//   TO1  However long a prompt is, and however many come together, no stretch of work holds the event loop up for longer
//        than a step of each line: what is not short enough to be done at once waits in one, for its turn. Prompts of
//        millions of characters have a line of their own.
//   TO2  A pattern of the model's file that does not end is cut off, and its request ends in one typed error.
//   TO3  Long prompts that wait are bounded in characters and in time.

import { createContext, Script } from 'node:vm'
import type { Clock } from '../../lib/actor/actor.js'
import { createTurns } from '../../lib/actor/turns.js'
import { ClusterError } from '../../lib/errors.js'
import { finish, type Steps } from '../../lib/model/tokenization/steps.js'
import type { EncodeOptions, ModelTokenizer } from '../../lib/model/tokenizer.js'

export interface Tokenise {
  /**
   * Ids of the text. Throws the signal's reason soon after it aborts, `resource_exhausted` where too much waits before
   * it, `internal` where a step does not end.
   */
  (text: string, options?: EncodeOptions, signal?: AbortSignal): Promise<readonly number[]>
}

const STEP_MS = 3000 // a step takes some milliseconds, of millions of characters without a space some hundred
const SHORT = 4096 // characters
const MIDDLE = 65_536
const MAX_WAITING = 32 * 1024 * 1024 // characters of all prompts of a line: half a minute's work
const MAX_WAIT_MS = 15_000

export function createTokenise(
  tokenizer: Pick<ModelTokenizer, 'encodeSteps'>,
  clock: Pick<Clock, 'turn' | 'after' | 'monotonicMs'>,
  stepMs = STEP_MS,
): Tokenise {
  const bounds = { what: 'long prompts', reason: 'TOKENIZER_BUSY', maxWaiting: MAX_WAITING, maxWaitMs: MAX_WAIT_MS }
  const [middle, long] = [createTurns(bounds), createTurns(bounds)]
  let numAtOnce = 0 // characters, in this turn of the event loop

  const isAtOnce = (length: number): boolean => {
    if (length > SHORT) return false
    if (numAtOnce === 0) void clock.turn().then(() => (numAtOnce = 0))
    numAtOnce += length
    return numAtOnce <= SHORT
  }

  const inSteps = async (
    steps: Steps<readonly number[]>,
    signal: AbortSignal | undefined,
  ): Promise<readonly number[]> => {
    for (;;) {
      await clock.turn()
      if (signal?.aborted === true) throw ClusterError.from(signal.reason)
      const { done, value } = bounded(stepMs, () => steps.next())
      if (done === true) return value
    }
  }

  return async (text, options, signal) => {
    const steps = tokenizer.encodeSteps(text, options)
    if (isAtOnce(text.length)) return bounded(stepMs, () => finish(steps))
    const line = text.length <= MIDDLE ? middle : long
    return line.take({ size: Math.max(1, text.length), clock, signal }, () => inSteps(steps, signal))
  }
}

const guard = { work: (): unknown => undefined }
const context = createContext(guard)
const script = new Script('work()')

/** The error is one of that context. */
const isTimeout = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'

/** Also regular expressions end then: the engine looks for it where they go back. */
function bounded<T>(stepMs: number, work: () => T): T {
  guard.work = work
  try {
    return script.runInContext(context, { timeout: stepMs }) as T // what `work` returns
  } catch (error) {
    if (!isTimeout(error)) throw error
    const message = `tokenizer: a pattern of its file did not end within ${stepMs} ms on this text`
    throw new ClusterError('internal', message, { details: { reason: 'TOKENIZER_TIMEOUT' } })
  } finally {
    guard.work = () => undefined
  }
}
