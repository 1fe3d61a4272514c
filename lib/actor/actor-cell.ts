// One running actor: its mailbox, the handler that runs now, its restarts. The contract is in `actor.ts` (A1 to A5).

import { ClusterError } from '../errors.js'
import type { Message } from '../wire/messages.js'
import type { ActorDefinition, Answer, Clock, Handlers, MessageContext, Reason } from './actor.js'
import { createStopper } from './linked-signal.js'
import { createMailbox } from './mailbox.js'
import { afterCrash } from './supervisor.js'

export interface Letter {
  readonly message: Message
  readonly sender: string
  readonly arrivedMs: number // on the monotonic clock
  readonly dueMs: number // on that clock, 0: none
  readonly traceparent: string | undefined
  readonly answer: ((answer: Answer | ClusterError) => void) | undefined
}

export interface CellOptions {
  readonly definition: ActorDefinition
  readonly clock: Clock
  readonly onDeadLetter: (letter: Letter, reason: Reason) => void
  /** It gave up restarting. */
  readonly onGaveUp: (error: ClusterError) => void
}

export interface Cell {
  readonly queued: number
  deliver(letter: Letter): void
  stop(): Promise<void>
}

type AnyHandler = (message: Message, context: MessageContext) => Answer | Promise<Answer>

export function createCell({ definition, clock, onDeadLetter, onGaveUp }: CellOptions): Cell {
  const mailbox = createMailbox<Letter>(definition.mailboxCapacity)
  const stopping = createStopper()
  const crashes: number[] = []
  let handlers: Handlers | undefined = definition.create()
  let running: Promise<void> | undefined
  let cancelRestart = (): void => undefined

  const refuse = (letter: Letter, reason: Reason, error: ClusterError): void => {
    onDeadLetter(letter, reason)
    letter.answer?.(error)
  }

  const deliver = (letter: Letter): void => {
    const { kind } = letter.message
    if (stopping.signal.aborted)
      refuse(letter, 'stopped', new ClusterError('unavailable', `${definition.address} has stopped`))
    else if (!mailbox.push(letter, definition.systemKinds.has(kind))) {
      refuse(
        letter,
        'mailbox-full',
        new ClusterError(
          'resource_exhausted',
          `${definition.address}: mailbox of ${definition.mailboxCapacity} is full`,
        ),
      )
    } else pump()
  }

  const pump = (): void => {
    if (running !== undefined || handlers === undefined || mailbox.size === 0) return
    running = runAll().finally(() => {
      running = undefined
      if (!stopping.signal.aborted) pump()
    })
  }

  const runAll = async (): Promise<void> => {
    while (handlers !== undefined && !stopping.signal.aborted) {
      const letter = mailbox.shift()
      if (letter === undefined) return
      await handle(letter, handlers)
    }
  }

  const handle = async (letter: Letter, current: Handlers): Promise<void> => {
    const { message, dueMs } = letter
    const nowMs = clock.monotonicMs()
    // The table's entry for a kind takes the message of that kind; TypeScript cannot follow the lookup.
    const handler = current[message.kind] as AnyHandler | undefined
    if (dueMs !== 0 && nowMs >= dueMs) {
      return refuse(
        letter,
        'late',
        new ClusterError('deadline_exceeded', `${message.kind}: its deadline passed while it waited`),
      )
    }
    if (handler === undefined) {
      return refuse(
        letter,
        'no-handler',
        new ClusterError('unimplemented', `${definition.address} does not handle ${message.kind}`),
      )
    }
    try {
      const { sender, traceparent, arrivedMs } = letter
      const context = { sender, dueMs, queuedMs: nowMs - arrivedMs, traceparent, signal: stopping.signal }
      const answer = await handler(message, context)
      letter.answer?.(answer)
    } catch (error) {
      letter.answer?.(ClusterError.from(error))
      if (!(error instanceof ClusterError)) crash(error)
    }
  }

  /** A programming error: the state may be broken, so a fresh one is made after a pause. */
  const crash = (error: unknown): void => {
    handlers = undefined
    crashes.push(clock.monotonicMs())
    const decision = afterCrash(crashes, clock.monotonicMs())
    if (decision.action === 'stop') {
      onGaveUp(
        new ClusterError('internal', `${definition.address} crashed too often: ${ClusterError.from(error).message}`, {
          cause: error,
        }),
      )
      return
    }
    cancelRestart = clock.after(decision.delayMs, () => {
      handlers = definition.create()
      pump()
    })
  }

  return {
    get queued() {
      return mailbox.size
    },
    deliver,
    stop: async () => {
      if (stopping.signal.aborted) return
      stopping.abort()
      cancelRestart()
      for (const letter of mailbox.drain()) {
        refuse(letter, 'stopped', new ClusterError('unavailable', `${definition.address} has stopped`))
      }
      await running
      await definition.onStop?.()
    },
  }
}
