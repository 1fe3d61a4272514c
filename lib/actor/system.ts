// The actor runtime of one process over a transport. Thin: the transport delivers, this decodes, queues and answers.

import { ClusterError, isErrorCode } from '../errors.js'
import type { Transport } from '../transport/transport.js'
import { decodeFrame, encodeFrame, type Frame } from '../wire/frame.js'
import type { Body, Message, MessageKind, MessageOf } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import type {
  ActorDefinition,
  ActorRef,
  ActorSystem,
  Answer,
  AskOptions,
  Clock,
  Question,
  Random,
  Reason,
} from './actor.js'
import { createCell, type Cell, type Letter } from './actor-cell.js'
import { createDeathWatch } from './death-watch.js'

export interface ActorSystemOptions {
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly cluster: string
  readonly node: string // name of this process, the sender of its messages
}

export function createActorSystem(options: ActorSystemOptions): ActorSystem {
  const { transport, clock, cluster, node } = options
  const deadLetters = new Map<Reason, number>()
  const cells = new Map<string, Cell>()
  const inHand = new Set<string>() // messages that want an answer; every letter is answered, if by a refusal
  let numMessages = 0

  const nextId = (): string => `${node}-${(numMessages += 1).toString(36)}`
  const count = (reason: Reason): void => void deadLetters.set(reason, (deadLetters.get(reason) ?? 0) + 1)

  const encode = (message: Message, timeoutMs = 0, traceparent?: string, id = nextId()): Uint8Array =>
    encodeFrame({ envelope: { id, from: node, timeoutMs, epoch: epochOf(message), traceparent }, message })

  const toLetter = ({ envelope, message }: Frame, reply: ((payload: Uint8Array) => void) | undefined): Letter => {
    const arrivedMs = clock.monotonicMs()
    return {
      message,
      sender: envelope.from,
      arrivedMs,
      dueMs: envelope.timeoutMs === 0 ? 0 : arrivedMs + envelope.timeoutMs,
      traceparent: envelope.traceparent,
      answer:
        reply &&
        ((answer) => {
          inHand.delete(envelope.id)
          reply(encode(toMessage(answer)))
        }),
    }
  }

  const spawn = (definition: ActorDefinition): ActorRef => {
    const { address } = definition
    if (cells.has(address)) throw new ClusterError('already_exists', `actor ${address}: already runs in this process`)
    const stop = async (): Promise<void> => {
      subscription.unsubscribe()
      cells.delete(address)
      await cell.stop()
      announceDeath(address)
    }
    const cell = createCell({
      definition,
      clock,
      onDeadLetter: (_, reason) => count(reason),
      onGaveUp: () => void stop(),
    })
    const subscription = transport.subscribe(subjects.actor(cluster, address), ({ payload, reply }) => {
      try {
        const frame = decodeFrame(payload)
        if (reply !== undefined) inHand.add(frame.envelope.id)
        cell.deliver(toLetter(frame, reply))
      } catch (error) {
        count('undecodable')
        reply?.(encode(toMessage(ClusterError.from(error))))
      }
    })
    cells.set(address, cell)
    return {
      address,
      get queued() {
        return cell.queued
      },
      stop,
    }
  }

  const announceDeath = (address: string): void => {
    try {
      transport.publish(subjects.obituaries(cluster), encode({ kind: 'actor.stopped', address }))
    } catch {
      count('stopped') // the transport is gone already: the watchers see the silence
    }
  }

  const tell = <K extends MessageKind>(address: string, kind: K, body: Body<K>): void => {
    broadcast(subjects.actor(cluster, address), kind, body)
  }

  const broadcast = <K extends MessageKind>(subject: string, kind: K, body: Body<K>): void => {
    try {
      transport.publish(subject, encode(asMessage(kind, body)))
    } catch (error) {
      if (ClusterError.from(error).code === 'invalid_argument') throw error
      count('stopped') // at most once: a closed transport loses what is told
    }
  }

  const ask = async <K extends MessageKind, R extends MessageKind>(
    address: string,
    message: Question<K, R>,
    { timeoutMs, signal, traceparent, id }: AskOptions,
  ): Promise<MessageOf<R>> => {
    const payload = encode(asMessage(message.kind, message.body), timeoutMs, traceparent, id)
    const decode = (bytes: Uint8Array): MessageOf<R> =>
      expectReply(decodeFrame(bytes).message, message.replyKind, address)
    let read: MessageOf<R> | undefined
    const reply = await transport.request(subjects.actor(cluster, address), payload, {
      timeoutMs,
      ...(signal && { signal }),
      read: message.read && ((bytes) => message.read?.((read = decode(bytes)))),
    })
    return read ?? decode(reply)
  }

  const listen = <K extends MessageKind>(
    subject: string,
    kind: K,
    handler: (message: MessageOf<K>) => void,
  ): (() => void) => {
    const subscription = transport.subscribe(subject, ({ payload }) => {
      try {
        const { message } = decodeFrame(payload)
        if (isOfKind(message, kind)) handler(message)
        else count('no-handler')
      } catch {
        count('undecodable')
      }
    })
    return () => subscription.unsubscribe()
  }

  const deathWatch = createDeathWatch({ clock, listen, cluster })

  return {
    clock,
    random: options.random,
    deadLetters,
    spawn,
    newMessageId: nextId,
    isInHand: (message) => inHand.has(message),
    tell,
    ask,
    broadcast,
    listen,
    watch: deathWatch.watch,
    stop: async () => {
      deathWatch.stop()
      await Promise.all([...cells.values()].map((cell) => cell.stop()))
      cells.clear()
    },
  }
}

const epochOf = (message: Message): number => ('tableEpoch' in message ? message.tableEpoch : 0)

// A kind and the body of that kind make the message of that kind; TypeScript cannot follow the distribution.
const asMessage = <K extends MessageKind>(kind: K, body: Body<K>): Message => ({ kind, ...body }) as unknown as Message

const isOfKind = <K extends MessageKind>(message: Message, kind: K): message is MessageOf<K> => message.kind === kind

function toMessage(answer: Answer | ClusterError): Message {
  if (answer instanceof ClusterError)
    return { kind: 'request.failed', ...answer.toWire(), details: { ...answer.details } }
  return typeof answer === 'object' ? answer : { kind: 'request.done', handled: true }
}

function expectReply<R extends MessageKind>(message: Message, replyKind: R, address: string): MessageOf<R> {
  if (message.kind === 'request.failed') {
    const code = isErrorCode(message.code) ? message.code : 'internal'
    throw new ClusterError(code, message.message, { details: message.details })
  }
  if (isOfKind(message, replyKind)) return message
  throw new ClusterError('internal', `${address}: want a reply ${replyKind}, got ${message.kind}`)
}
