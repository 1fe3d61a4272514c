// The actor runtime of one process over a transport. Thin: the transport delivers, this decodes, queues and answers.

import { ClusterError } from '../errors.js'
import type { Transport } from '../transport/transport.js'
import { giveBack } from '../wire/frame-buffers.js'
import { decodeFrame, decodeHeard, encodeFrame, headerOf, type Frame } from '../wire/frame.js'
import type { Body, Message, MessageKind, MessageOf } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import { haveCommon, KNOWN_VERSIONS, type VersionRange } from '../wire/versions.js'
import type { ActorDefinition, ActorRef, ActorSystem, Answer, Clock, Random, Reason } from './actor.js'
import { asMessage, createAsk, isOfKind, type Sending } from './asking.js'
import { createCell, type Cell, type Letter } from './actor-cell.js'
import { createDeathWatch } from './death-watch.js'
import { createPeerVersions } from './peer-versions.js'

export interface ActorSystemOptions {
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly cluster: string
  readonly node: string // name of this process, the sender of its messages
  readonly speaks?: VersionRange | undefined // versions of the frame; absent: all that this build knows
  readonly reads?: VersionRange | undefined // absent: all that this build knows, whatever it speaks
}

export function createActorSystem(options: ActorSystemOptions): ActorSystem {
  const { transport, clock, cluster, node, speaks = KNOWN_VERSIONS, reads = KNOWN_VERSIONS } = options
  const peers = createPeerVersions(speaks)
  const deadLetters = new Map<Reason, number>()
  const cells = new Map<string, Cell>()
  const inHand = new Set<string>() // messages that want an answer; every letter is answered, if by a refusal
  let numMessages = 0

  const nextId = (): string => `${node}-${(numMessages += 1).toString(36)}`
  const count = (reason: Reason): void => void deadLetters.set(reason, (deadLetters.get(reason) ?? 0) + 1)

  const encode = (version: number, message: Message, asked: Sending = {}): Uint8Array => {
    const { timeoutMs = 0, traceparent, id = nextId() } = asked
    const envelope = { id, from: node, timeoutMs, epoch: epochOf(message), traceparent }
    return encodeFrame({ version, speaks, envelope, message })
  }

  const decode = (payload: Uint8Array, read = decodeFrame): Frame => {
    const frame = read(payload, reads)
    peers.heard(frame.envelope.from, frame.speaks)
    return frame
  }

  const toLetter = (
    { version, speaks, envelope, message }: Frame,
    reply: ((payload: Uint8Array) => boolean) | undefined,
  ): Letter => {
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
          const bytes = encode(peers.versionOfReply({ version, speaks }), toMessage(answer))
          if (reply(bytes)) giveBack(bytes)
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
        const frame = decode(payload)
        if (reply !== undefined) inHand.add(frame.envelope.id)
        cell.deliver(toLetter(frame, reply))
      } catch (error) {
        count('undecodable')
        reply?.(encode(peers.versionOfReply(headerOf(payload)), toMessage(ClusterError.from(error))))
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
      transport.publish(subjects.obituaries(cluster), encode(speaks.lowest, { kind: 'actor.stopped', address }))
    } catch {
      count('stopped') // the transport is gone already: the watchers see the silence
    }
  }

  const tell = <K extends MessageKind>(address: string, kind: K, body: Body<K>): void => {
    publish(subjects.actor(cluster, address), peers.versionFor(address), asMessage(kind, body))
  }

  const broadcast = <K extends MessageKind>(subject: string, kind: K, body: Body<K>): void => {
    publish(subject, speaks.lowest, asMessage(kind, body))
  }

  const publish = (subject: string, version: number, message: Message): void => {
    try {
      transport.publish(subject, encode(version, message))
    } catch (error) {
      if (ClusterError.from(error).code === 'invalid_argument') throw error
      count('stopped') // at most once: a closed transport loses what is told
    }
  }

  const ask = createAsk({ transport, clock, cluster, peers, newMessageId: nextId, encode, decode })

  const listen = <K extends MessageKind>(
    subject: string,
    kind: K,
    handler: (message: MessageOf<K>) => void,
  ): (() => void) => {
    const subscription = transport.subscribe(subject, ({ payload }) => {
      try {
        const { message, speaks: theirs } = decode(payload, decodeHeard)
        if (!haveCommon(speaks, theirs)) return count('undecodable') // what is asked of it would not be read
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
    versionsOf: peers.of,
    stop: async () => {
      deathWatch.stop()
      await Promise.all([...cells.values()].map((cell) => cell.stop()))
      cells.clear()
    },
  }
}

const epochOf = (message: Message): number => ('tableEpoch' in message ? message.tableEpoch : 0)

function toMessage(answer: Answer | ClusterError): Message {
  if (answer instanceof ClusterError)
    return { kind: 'request.failed', ...answer.toWire(), details: { ...answer.details } }
  return typeof answer === 'object' ? answer : { kind: 'request.done', handled: true }
}
