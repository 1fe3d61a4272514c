// The NATS transport: the only module that imports the client.

import {
  connect,
  credsAuthenticator,
  Events,
  headers,
  NatsError,
  type NatsConnection,
  type Subscription as NatsSubscription,
} from 'nats'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock, systemRandom } from '../actor/clock.js'
import { ClusterError } from '../errors.js'
import { createBusTransport, DEFAULT_MAX_MESSAGE_BYTES, type Bus, type BusMessage } from './bus-transport.js'
import { openJetStreamStore, type JetStreamPort } from './jetstream-store.js'
import { createLinkedBus } from './linked-bus.js'
import type { LinkPlace } from './link-server.js'
import { natsAccess, withoutLogin, type NatsLogin, type NatsTlsFiles } from './nats-access.js'
import { unconfirmed } from './record-store.js'
import type { Transport } from './transport.js'

const NO_RESPONDERS = 503
const CONNECT_TIMEOUT_MS = 10_000
const RETRY_MS = 500
const DRAIN_TIMEOUT_MS = 2_000

export interface NatsOptions {
  readonly url: string // or several with commas; with user and password where the server asks for them
  readonly name: string // shows in the server's connection list
  readonly login?: NatsLogin | undefined // where the URL has none
  readonly credsFile?: string | undefined
  readonly tls?: NatsTlsFiles | undefined
  /** Replies arrive under `_INBOX.<inbox>.`: what a server lets this role read and no other. Absent: `_INBOX.`. */
  readonly inbox?: string | undefined
  /** Told what the server refuses (permissions). */
  readonly onRefused?: ((what: string) => void) | undefined
  readonly maxMessageBytes?: number
  readonly connectTimeoutMs?: number
  /** Who is not let in at first tries again for so long: servers that start with it. Absent: once. */
  readonly waitMs?: number | undefined
  /** Told why it waits, once. */
  readonly onWait?: ((why: string) => void) | undefined
  /** Where other processes may reach this one directly; absent: only over NATS. */
  readonly link?: LinkPlace | undefined
}

/** Connects; later losses of the connection heal by themselves and keep every subscription. Throws `unavailable`. */
export async function connectNats(options: NatsOptions): Promise<Transport> {
  const creds = options.credsFile === undefined ? undefined : await readFile(options.credsFile)
  const { servers, login, tls } = natsAccess(options.url, options)
  const inboxPrefix = options.inbox === undefined ? '_INBOX' : `_INBOX.${options.inbox}`
  const open = (): Promise<NatsConnection> =>
    connect({
      servers,
      name: options.name,
      inboxPrefix,
      ...login,
      ...(tls === undefined ? {} : { tls }),
      timeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      reconnectJitter: 50,
      pingInterval: 3_000, // a connection that swallows everything is given up after three of them
      ignoreAuthErrorAbort: true, // a server that has just started may not know its users yet
      noAsyncTraces: true,
      ...(creds === undefined ? {} : { authenticator: credsAuthenticator(creds) }),
    }).catch((error: unknown) => {
      throw new ClusterError(
        'unavailable',
        `NATS at ${withoutLogin(options.url)}: ${String(error)}; is the server running?`,
        {
          cause: error,
        },
      )
    })
  const connection = await persistently(open, options)
  const nats = createNatsBus(connection, inboxPrefix, options.onRefused)
  const bus = await withLinks(nats, options.link)
  return createBusTransport(bus, {
    kind: 'nats',
    maxMessageBytes: options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
    clock: systemClock,
    random: systemRandom,
  })
}

async function persistently(
  open: () => Promise<NatsConnection>,
  { waitMs = 0, onWait }: NatsOptions,
): Promise<NatsConnection> {
  const untilMs = performance.now() + waitMs
  for (let attempt = 0; ; attempt++) {
    try {
      return await open()
    } catch (error) {
      if (performance.now() + RETRY_MS > untilMs) throw error
      if (attempt === 0) onWait?.(ClusterError.from(error).message)
      await sleep(RETRY_MS)
    }
  }
}

async function withLinks(nats: Bus, link: LinkPlace | undefined): Promise<Bus> {
  if (link === undefined) return nats
  try {
    return await createLinkedBus(nats, link)
  } catch (error) {
    await nats.close()
    throw error
  }
}

function createNatsBus(connection: NatsConnection, inboxPrefix: string, onRefused: NatsOptions['onRefused']): Bus {
  let isConnected = true
  let reconnects = 0
  let onLost: (isLost: () => boolean) => void = () => undefined
  const asked = new Set<(error: ClusterError) => void>() // requests of the record stores under way
  const changed = (value: boolean): void => {
    isConnected = value
    if (value) {
      reconnects += 1
      return
    }
    onLost(() => true)
    for (const fail of asked) fail(unconfirmed('NATS: the connection was lost'))
  }
  void watchStatus(connection, changed, onRefused)
  const requireConnected = (): void => {
    // While disconnected the client would buffer without bound: refuse instead, the asker retries.
    if (isConnected && !connection.isClosed() && !connection.isDraining()) return
    throw new ClusterError('unavailable', 'NATS: disconnected', { details: { reason: 'DISCONNECTED' } })
  }
  const maxPayloadBytes = connection.info?.max_payload ?? 1024 * 1024
  const port: JetStreamPort = {
    maxPayloadBytes,
    isClustered: connection.info?.cluster !== undefined,
    request: async (subject, payload, options) => {
      requireConnected()
      let fail: (error: ClusterError) => void = () => undefined
      const lost = new Promise<never>((_, reject) => (fail = reject))
      asked.add(fail)
      try {
        return await Promise.race([request(connection, subject, payload, options), lost])
      } finally {
        asked.delete(fail)
      }
    },
  }
  return {
    inboxPrefix,
    maxPayloadBytes,
    openRecords: (options) => openJetStreamStore(port, options),
    publish: (subject, payload, reply) => {
      requireConnected()
      connection.publish(subject, payload, reply === undefined ? {} : { reply })
      return false // it waits in the connection's buffer as it is
    },
    subscribe: (subject, handler, queue) => subscribe(connection, subject, handler, queue),
    onDisconnect: (listener) => {
      onLost = listener
    },
    connection: () => ({ isConnected, reconnects }),
    advertise: async (service) => {
      const registered = await connection.services.add({
        name: service.name,
        version: service.version,
        description: service.description,
        metadata: { ...service.metadata },
      })
      for (const { name, subject } of service.endpoints) {
        registered.addEndpoint(name, {
          subject: `${subject}.info`,
          handler: (_, message) => message.respond(new Uint8Array(0)),
        })
      }
    },
    flush: () => connection.flush(),
    close: () => closeWithin(connection, DRAIN_TIMEOUT_MS),
  }
}

const request: (
  connection: NatsConnection,
  ...args: Parameters<JetStreamPort['request']>
) => Promise<Uint8Array> = async (connection, subject, payload, options) => {
  const asked = headers()
  for (const [name, value] of Object.entries(options.headers ?? {})) asked.set(name, value)
  try {
    const { data } = await connection.request(subject, payload, { timeout: options.timeoutMs, headers: asked })
    return data
  } catch (error) {
    if (error instanceof NatsError && error.code === String(NO_RESPONDERS)) {
      const why = `${subject}: nobody answers there`
      throw new ClusterError('unavailable', why, { cause: error, details: { reason: 'NO_RESPONDERS' } })
    }
    throw unconfirmed(`${subject}: ${ClusterError.from(error).message}`, error)
  }
}

function subscribe(
  connection: NatsConnection,
  subject: string,
  handler: (message: BusMessage) => void,
  queue?: string,
) {
  const subscription: NatsSubscription = connection.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      if (error !== null) return // a permission error: the server has said so on the connection's status
      const isNoResponders = message.data.length === 0 && message.headers?.code === NO_RESPONDERS
      handler({
        subject: message.subject,
        payload: message.data,
        reply: message.reply === '' ? undefined : message.reply,
        isNoResponders,
      })
    },
  })
  return { unsubscribe: () => subscription.unsubscribe() }
}

async function watchStatus(
  connection: NatsConnection,
  onChange: (isConnected: boolean) => void,
  onRefused: NatsOptions['onRefused'],
): Promise<void> {
  for await (const status of connection.status()) {
    const { permissionContext: refused } = status
    if (refused !== undefined) onRefused?.(`${refused.operation} ${refused.subject}`)
    if (status.type === Events.Disconnect) onChange(false)
    else if (status.type === Events.Reconnect) onChange(true)
  }
}

async function closeWithin(connection: NatsConnection, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs)
  })
  await Promise.race([connection.drain().catch(() => undefined), late])
  clearTimeout(timer)
  if (!connection.isClosed()) await connection.close()
}
