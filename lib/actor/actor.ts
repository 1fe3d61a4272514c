// The actor interface: an address, a bounded mailbox, one message at a time, a supervisor, a death others can watch.
// The runtime is thin: NATS delivers, Kubernetes keeps processes alive.
//
// Contract
//   A1  One message at a time per actor, FIFO per sender; a system message goes before every waiting user message.
//   A2  The mailbox is bounded: a user message above its capacity is refused (`resource_exhausted` to an asker) and
//       counted as a dead letter. System messages have a bound of their own.
//   A3  A throwing handler answers its asker with the typed error; anything but a ClusterError also restarts the
//       actor (a fresh state from its factory) with exponential back-off, and stops it after too many restarts.
//   A4  What cannot be delivered or decoded becomes a counted, typed dead letter.
//   A5  `ask` ends within its deadline. A message whose deadline passed while it waited is not handled.
//   A6  Time, randomness and transport are parameters.

import type { ClusterError } from '../errors.js'
import type { Body, Message, MessageKind, MessageOf } from '../wire/messages.js'
import type { VersionRange } from '../wire/versions.js'
import type { StopSignal } from './linked-signal.js'

/** Milliseconds, timers and turns of the event loop; the real one is made in `main.ts` only. */
export interface Clock {
  now(): number // unix milliseconds: for what others read; it may jump
  monotonicMs(): number // never runs back, parts of a millisecond too: for every interval that is measured here
  /** Returns a function that cancels the timer. */
  after(delayMs: number, run: () => void): () => void
  /** Resolves when messages and timers that were due have had their turn. */
  turn(this: void): Promise<void>
}

/** 0 ≤ value < 1. What ids and seeds are made of, so that a process under simulation can be run again. */
export type Random = () => number

export interface MessageContext {
  readonly sender: string // address of the sender, '' when unknown
  readonly dueMs: number // when its asker stops waiting, on the monotonic clock; 0: nobody waits
  readonly queuedMs: number // it waited for so long in the mailbox
  readonly traceparent: string | undefined
  readonly signal: StopSignal // aborted when the actor stops or the deadline passes
}

/** The message an actor answers with, or nothing (an asker then gets `request.done`). */
export type Answer = Message | undefined | void

export type Handlers = {
  readonly [K in MessageKind]?: (message: MessageOf<K>, context: MessageContext) => Answer | Promise<Answer>
}

export interface ActorDefinition {
  readonly address: string
  readonly mailboxCapacity: number
  /** Kinds that go before user messages. */
  readonly systemKinds: ReadonlySet<MessageKind>
  /** Called at start and at every restart: the returned handlers close over fresh state. */
  readonly create: () => Handlers
  readonly onStop?: () => void | Promise<void>
}

export type Reason = 'mailbox-full' | 'no-handler' | 'undecodable' | 'late' | 'stopped'

export interface DeadLetter {
  readonly address: string
  readonly kind: string
  readonly reason: Reason
}

export interface ActorRef {
  readonly address: string
  readonly queued: number
  stop(): Promise<void>
}

/** What is asked; `read` sees the reply as it arrives, and its tensors only until it returns. */
export interface Question<K extends MessageKind, R extends MessageKind> {
  readonly kind: K
  readonly body: Body<K>
  readonly replyKind: R
  readonly read?: ((reply: MessageOf<R>) => void) | undefined
}

export interface AskOptions {
  readonly timeoutMs: number
  readonly signal?: StopSignal | undefined
  readonly traceparent?: string | undefined
  readonly id?: string | undefined // of the message, from `newMessageId`
}

export interface ActorSystem {
  readonly clock: Clock
  readonly random: Random
  readonly deadLetters: ReadonlyMap<Reason, number>
  spawn(definition: ActorDefinition): ActorRef
  newMessageId(): string
  /** Whether a message that wants an answer waits in a mailbox of this process, or is being answered. */
  isInHand(this: void, message: string): boolean
  /** Sends and forgets. */
  tell<K extends MessageKind>(address: string, kind: K, body: Body<K>): void
  /** Sends and waits for a reply of `replyKind`; a failed reply is thrown as its ClusterError. */
  ask<K extends MessageKind, R extends MessageKind>(
    address: string,
    message: Question<K, R>,
    options: AskOptions,
  ): Promise<MessageOf<R>>
  /** Publishes on a subject that is no actor's (heartbeats). */
  broadcast<K extends MessageKind>(subject: string, kind: K, body: Body<K>): void
  listen<K extends MessageKind>(subject: string, kind: K, handler: (message: MessageOf<K>) => void): () => void
  /** Calls back once when the actor is gone: it stopped, gave up restarting, or its process fell silent. */
  watch(this: void, address: string, onDeath: (error: ClusterError) => void): () => void
  /** The versions of the frame that the process of an address spoke when it was last heard. */
  versionsOf(this: void, address: string): VersionRange | undefined
  stop(): Promise<void>
}
