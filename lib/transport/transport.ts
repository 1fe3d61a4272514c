// A transport moves opaque payloads between subjects. It is a plug under the frames (invariant I4): everything above
// it is the same on a laptop and in a cluster, and one contract suite (`test/contract/transport`) runs over every one.
//
// Contract
//   T1  At most once, in order per publisher and subject. Nothing is promised about delivery.
//   T2  A payload above `maxPayloadBytes` is chunked and reassembled below this interface; above `maxMessageBytes`
//       it is refused with `invalid_argument` before anything is sent.
//   T3  `request` ends within its deadline: with a reply, `deadline_exceeded`, `unavailable` (nobody subscribes; known
//       at once, not after the deadline) or `cancelled`.
//   T4  Every buffer is bounded; what does not fit is refused with `resource_exhausted` or counted in `dropped`.
//   T5  `close` ends every subscription and every pending request (`unavailable`).

import type { StopSignal } from '../actor/linked-signal.js'
import type { RecordStore } from './record-store.js'

export interface Delivery {
  readonly subject: string
  readonly payload: Uint8Array // valid after the handler returns
  /**
   * Answers a request; absent when the message was only published. Never throws. Whether the payload's bytes are free
   * again: they were sent, or copied.
   */
  readonly reply?: (payload: Uint8Array) => boolean
}

export interface Subscription {
  unsubscribe(): void
}

export interface RequestOptions {
  readonly timeoutMs: number
  readonly signal?: StopSignal | undefined
  /** Called with the reply as it arrives; its bytes may be used again afterwards. What it throws fails the request. */
  readonly read?: ((reply: Uint8Array) => void) | undefined
  /** Called at once where the payload's bytes are free again: they were sent, or copied. */
  readonly onFree?: (() => void) | undefined
}

export interface ServiceDescription {
  readonly name: string // e.g. 'banyan-expert-worker'
  readonly version: string
  readonly description: string
  readonly metadata: Readonly<Record<string, string>>
  readonly endpoints: readonly { readonly name: string; readonly subject: string }[]
}

export interface RecordsOptions {
  readonly stream: string // letters, digits, '-' and '_'
  readonly subject: string // records lie one token below it
  readonly maxAgeMs?: number | undefined
  readonly maxBytes?: number | undefined
  readonly replicas?: number | undefined // servers that keep each record; absent: as many as a cluster has, 3 at most
  readonly timeoutMs?: number | undefined
}

/** What a transport holds, for those who look for leaks. */
export interface TransportUsage {
  readonly subscriptions: number
  readonly pending: number // requests under way
  readonly isConnected: boolean
  readonly reconnects: number // times that a lost connection was back
}

export interface Transport {
  readonly kind: 'local' | 'nats'
  readonly maxPayloadBytes: number
  readonly maxMessageBytes: number
  /** Messages that were lost to a bound, a broken chunk or a throwing handler. */
  readonly dropped: number
  usage(): TransportUsage
  publish(subject: string, payload: Uint8Array): void
  request(subject: string, payload: Uint8Array, options: RequestOptions): Promise<Uint8Array>
  /** Wildcards `*` (one token) and `>` (the rest). Members of one `queue` share the messages. */
  subscribe(subject: string, handler: (delivery: Delivery) => void, options?: { readonly queue?: string }): Subscription
  /** Registers with NATS' services API (so that `nats micro ls` shows it); a no-op on `local`. */
  advertise(service: ServiceDescription): Promise<void>
  /**
   * A store on the other side of the transport, made where it is missing; absent where there is no other side. Throws
   * `failed_precondition` (reason NO_JETSTREAM) where the server keeps nothing. Closing the transport closes it.
   */
  readonly openRecords?: ((options: RecordsOptions) => Promise<RecordStore>) | undefined
  /** Resolves when what was published before has reached the server; says nothing of direct links. */
  flush(): Promise<void>
  close(): Promise<void>
}
