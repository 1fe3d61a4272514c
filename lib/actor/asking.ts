// Asks a mailbox and waits for the answer, in a version of the frame that both sides speak.
//
// Invariants
//   Q1  An ask ends within its deadline, in however many versions it was asked.
//   Q2  A question that was refused because of its version was not read, so it is asked again, under the same id, in one
//       that both speak; where there is none, it fails at once and says what either side speaks.

import { ClusterError, isErrorCode } from '../errors.js'
import type { Transport } from '../transport/transport.js'
import { giveBack } from '../wire/frame-buffers.js'
import type { Frame } from '../wire/frame.js'
import type { Body, Message, MessageKind, MessageOf } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import { isWithin } from '../wire/versions.js'
import type { ActorSystem, AskOptions, Clock, Question } from './actor.js'
import { processOf, type PeerVersions } from './peer-versions.js'

/** What a frame says beside its message. */
export type Sending = Partial<Pick<AskOptions, 'timeoutMs' | 'traceparent' | 'id'>>

export interface AskParts {
  readonly transport: Transport
  readonly clock: Clock
  readonly cluster: string
  readonly peers: PeerVersions
  readonly newMessageId: () => string
  readonly encode: (version: number, message: Message, sending: Sending) => Uint8Array
  readonly decode: (payload: Uint8Array) => Frame
}

/** A refusal from which the other side's versions were learnt. */
const NOT_READ = Symbol('not read')

export function createAsk(parts: AskParts): ActorSystem['ask'] {
  const { transport, clock, cluster, peers, newMessageId, encode, decode } = parts

  /** The answer as it arrives. */
  const readReply = <R extends MessageKind>(bytes: Uint8Array, address: string, asked: Asked<R>) => {
    const { speaks, message } = decode(bytes)
    peers.heard(processOf(address), speaks)
    if (isWithin(asked.version, speaks) || !isRefusal(message)) return expectReply(message, asked.replyKind, address)
    if (isWithin(peers.versionFor(address), speaks)) return NOT_READ
    throw peers.nothingInCommon(address, speaks)
  }

  const askOnce = async <K extends MessageKind, R extends MessageKind>(
    address: string,
    { kind, body, replyKind, read }: Question<K, R>,
    options: AskOptions,
  ): Promise<MessageOf<R> | typeof NOT_READ> => {
    const asked = { version: peers.versionFor(address), replyKind }
    let answer: MessageOf<R> | typeof NOT_READ | undefined
    const readAtOnce = (bytes: Uint8Array): void => {
      answer = readReply(bytes, address, asked)
      if (answer !== NOT_READ) read?.(answer)
    }
    const { timeoutMs, signal } = options
    const payload = encode(asked.version, asMessage(kind, body), options)
    const bytes = await transport.request(subjects.actor(cluster, address), payload, {
      timeoutMs,
      signal,
      read: read && readAtOnce,
      onFree: () => giveBack(payload),
    })
    return answer ?? readReply(bytes, address, asked)
  }

  return async (address, question, options) => {
    const dueMs = clock.monotonicMs() + options.timeoutMs
    const id = options.id ?? newMessageId()
    const { signal, traceparent } = options
    for (let { timeoutMs } = options; ;) {
      const answer = await askOnce(address, question, { timeoutMs, signal, traceparent, id })
      if (answer !== NOT_READ) return answer
      timeoutMs = dueMs - clock.monotonicMs()
      if (timeoutMs <= 0) throw tooLate(address, options.timeoutMs)
    }
  }
}

interface Asked<R extends MessageKind> {
  readonly version: number
  readonly replyKind: R
}

/** Who cannot read a frame says so with the code of all that is wrong with a frame. */
const isRefusal = (message: Message): boolean =>
  message.kind === 'request.failed' && message.code === 'invalid_argument'

const tooLate = (address: string, timeoutMs: number): ClusterError =>
  new ClusterError(
    'deadline_exceeded',
    `${address}: no answer in a version of the frame for both within ${timeoutMs} ms`,
  )

// A kind and the body of that kind make the message of that kind; TypeScript cannot follow the distribution.
export const asMessage = <K extends MessageKind>(kind: K, body: Body<K>): Message =>
  ({ kind, ...body }) as unknown as Message

export const isOfKind = <K extends MessageKind>(message: Message, kind: K): message is MessageOf<K> =>
  message.kind === kind

function expectReply<R extends MessageKind>(message: Message, replyKind: R, address: string): MessageOf<R> {
  if (message.kind === 'request.failed') {
    const code = isErrorCode(message.code) ? message.code : 'internal'
    throw new ClusterError(code, message.message, { details: message.details })
  }
  if (isOfKind(message, replyKind)) return message
  throw new ClusterError('internal', `${address}: want a reply ${replyKind}, got ${message.kind}`)
}
