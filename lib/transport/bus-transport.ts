// A Transport over any bus that can publish with a reply subject and subscribe: request and reply, deadlines, chunks.
// The two transports differ only in the bus below this.

import type { Clock, Random } from '../actor/actor.js'
import { randomHex } from '../actor/random-id.js'
import { ClusterError, type ErrorDetails } from '../errors.js'
import { createReassembler, createSplitter } from './chunks.js'
import type {
  Delivery,
  RequestOptions,
  ServiceDescription,
  Subscription,
  Transport,
  TransportUsage,
} from './transport.js'

export interface BusMessage {
  readonly subject: string
  readonly payload: Uint8Array
  readonly reply: string | undefined
  /** Answers the way the message came, as `publish` to `reply` does; absent: that is the way. */
  readonly respond?: ((payload: Uint8Array) => boolean) | undefined
  readonly isShared?: boolean // the payload's bytes are used again when the handler has returned
  readonly isNoResponders: boolean // the bus' own word that nobody subscribes to what was asked
}

/** `ended`: cancelled, or its connection was lost. */
export type Outcome = 'answered' | 'unanswered' | 'ended'

export interface Bus {
  readonly maxPayloadBytes: number
  readonly inboxPrefix?: string // of the subjects at which replies arrive
  /** Whether the payload's bytes are free again: they were sent, or copied. */
  publish(subject: string, payload: Uint8Array, reply?: string): boolean
  subscribe(subject: string, handler: (message: BusMessage) => void, queue?: string): Subscription
  /** Called when a connection is lost: lost replies will not come. */
  onDisconnect(listener: (isLost: (reply: string) => boolean) => void): void
  /** Absent: there is no connection to lose. */
  connection?(): Pick<TransportUsage, 'isConnected' | 'reconnects'>
  /** Told how a request ended; where nobody answered, another way there may do better. */
  onSettled?(request: { readonly subject: string; readonly reply: string }, outcome: Outcome): void
  advertise(service: ServiceDescription): Promise<void>
  openRecords?: Transport['openRecords']
  flush(): Promise<void>
  close(): Promise<void>
}

/** A place for replies that nobody else knows. */
export const newInbox = ({ inboxPrefix = '_INBOX' }: Bus, random: Random): string =>
  `${inboxPrefix}.${randomHex(random, 22)}`

export const DEFAULT_MAX_MESSAGE_BYTES = 128 * 1024 * 1024
const MAX_PENDING_REQUESTS = 16_384

interface Pending {
  readonly subject: string
  readonly settle: (result: Uint8Array | ClusterError, outcome: Outcome, isShared?: boolean) => void
}

export interface BusTransportOptions {
  readonly kind: Transport['kind']
  readonly maxMessageBytes: number
  readonly clock: Clock
  readonly random: Random
}

export function createBusTransport(bus: Bus, options: BusTransportOptions): Transport {
  const { kind, maxMessageBytes, clock, random } = options
  const inbox = newInbox(bus, random)
  const split = createSplitter(Buffer.from(randomHex(random, 16), 'hex'))
  const pending = new Map<string, Pending>()
  const subscriptions = new Set<Subscription>()
  let numDropped = 0
  let numRequests = 0
  let isClosed = false

  /** Sends a message in pieces; whether its bytes are free again. */
  const sendBy = (publish: (payload: Uint8Array) => boolean, message: Uint8Array): boolean => {
    if (isClosed) throw new ClusterError('unavailable', 'the transport is closed')
    if (message.byteLength > maxMessageBytes) {
      throw new ClusterError(
        'invalid_argument',
        `message: want at most ${maxMessageBytes} bytes, got ${message.byteLength}`,
      )
    }
    let isFree = true
    for (const payload of split(message, bus.maxPayloadBytes)) {
      const isSent = publish(payload)
      if (payload === message) isFree = isSent // else a copy
    }
    return isFree
  }

  const send = (subject: string, message: Uint8Array, reply?: string): boolean =>
    sendBy((payload) => bus.publish(subject, payload, reply), message)

  const sendReply = (respond: (payload: Uint8Array) => boolean, message: Uint8Array): boolean => {
    try {
      return sendBy(respond, message)
    } catch {
      numDropped += 1 // the asker has a deadline of its own
      return false
    }
  }

  const deliver = (message: BusMessage, whole: Uint8Array, handler: (delivery: Delivery) => void): void => {
    const { subject, reply } = message
    try {
      const payload = isShared(message, whole) ? new Uint8Array(whole) : whole
      if (reply === undefined) return handler({ subject, payload })
      const { respond = (answer) => bus.publish(reply, answer) } = message
      handler({ subject, payload, reply: (answer) => sendReply(respond, answer) })
    } catch {
      numDropped += 1
    }
  }

  const reassembling = (handle: (message: BusMessage, whole: Uint8Array) => void): ((message: BusMessage) => void) => {
    const reassembler = createReassembler(maxMessageBytes)
    const nowMs = (): number => clock.monotonicMs()
    return (message) => {
      try {
        const whole = reassembler.accept(message.payload, nowMs)
        if (whole !== undefined) handle(message, whole)
      } catch {
        numDropped += 1
      }
    }
  }

  const replies = reassembling((message, whole) => {
    pending.get(message.subject)?.settle(whole, 'answered', isShared(message, whole))
  })
  const inboxSubscription = bus.subscribe(`${inbox}.*`, (message) => {
    if (!message.isNoResponders) replies(message)
    else {
      const request = pending.get(message.subject)
      request?.settle(noResponders(request.subject), 'unanswered')
    }
  })

  bus.onDisconnect((isLost) => settleAll(isLost, 'the connection was lost', { reason: 'DISCONNECTED' }))

  const settleAll = (isMeant: (reply: string) => boolean, why: string, details: ErrorDetails = {}): void => {
    for (const [reply, { subject, settle }] of [...pending]) {
      if (!isMeant(reply)) continue
      settle(new ClusterError('unavailable', `request to ${subject}: ${why}`, { details }), 'ended')
    }
  }

  const request = (
    subject: string,
    message: Uint8Array,
    { timeoutMs, signal, read, onFree }: RequestOptions,
  ): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) throw new ClusterError('cancelled', `request to ${subject}: cancelled`)
      if (pending.size >= MAX_PENDING_REQUESTS) {
        throw new ClusterError('resource_exhausted', `want at most ${MAX_PENDING_REQUESTS} requests under way`)
      }
      const reply = `${inbox}.${(numRequests += 1).toString(36)}`
      const settle: Pending['settle'] = (result, outcome, isShared = false) => {
        cancelTimer()
        signal?.removeEventListener('abort', abort)
        pending.delete(reply)
        bus.onSettled?.({ subject, reply }, outcome)
        if (result instanceof ClusterError) return reject(result)
        try {
          read?.(result)
          resolve(isShared && read === undefined ? new Uint8Array(result) : result)
        } catch (error) {
          reject(ClusterError.from(error))
        }
      }
      const abort = (): void => {
        const isGivenUp = signal?.reason instanceof ClusterError // else nobody wants the answer any more
        settle(new ClusterError('cancelled', `request to ${subject}: cancelled`), isGivenUp ? 'unanswered' : 'ended')
      }
      const late = (): void => {
        const why = `request to ${subject}: no reply within ${timeoutMs} ms`
        settle(new ClusterError('deadline_exceeded', why), 'unanswered')
      }
      const cancelTimer = clock.after(Math.max(0, timeoutMs), late)
      signal?.addEventListener('abort', abort, { once: true })
      pending.set(reply, { subject, settle })
      try {
        if (send(subject, message, reply)) onFree?.()
      } catch (error) {
        settle(ClusterError.from(error), 'ended')
      }
    })

  return {
    kind,
    maxPayloadBytes: bus.maxPayloadBytes,
    maxMessageBytes,
    get dropped() {
      return numDropped
    },
    usage: () => ({
      subscriptions: subscriptions.size,
      pending: pending.size,
      ...(bus.connection?.() ?? { isConnected: !isClosed, reconnects: 0 }),
    }),
    publish: (subject, message) => void send(subject, message),
    request,
    subscribe: (subject, handler, options) => {
      const accept = reassembling((message, whole) => deliver(message, whole, handler))
      const inner = bus.subscribe(subject, accept, options?.queue)
      const subscription = {
        unsubscribe: () => {
          inner.unsubscribe()
          subscriptions.delete(subscription)
        },
      }
      subscriptions.add(subscription)
      return subscription
    },
    advertise: (service) => bus.advertise(service),
    openRecords: bus.openRecords,
    flush: () => bus.flush(),
    close: async () => {
      if (isClosed) return
      isClosed = true
      for (const subscription of [...subscriptions]) subscription.unsubscribe()
      inboxSubscription.unsubscribe()
      settleAll(() => true, 'the transport was closed')
      await bus.close()
    },
  }
}

/** Whether a message's bytes lie where the next one's will. */
const isShared = (message: BusMessage, whole: Uint8Array): boolean =>
  message.isShared === true && whole.buffer === message.payload.buffer

const noResponders = (subject: string): ClusterError =>
  new ClusterError('unavailable', `${subject}: nobody answers there`, { details: { reason: 'NO_RESPONDERS' } })
