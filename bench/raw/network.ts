// What a message costs without Banyan: a plain TCP echo, a NATS request with its reply, and a request to two responders
// at once with both replies gathered. Requester and responders are processes of their own.

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { connect } from 'nats'
import { percentile } from '../statistics.js'
import type { ResponderOrder, ResponderReady } from './responder.js'

export interface RoundTrip {
  readonly kind: 'TCP echo' | 'NATS request' | 'NATS fan-out to 2'
  readonly bytes: number // each way, per responder
  readonly microseconds: { readonly p50: number; readonly p90: number; readonly p99: number }
}

export interface NetworkOptions {
  readonly natsUrl: string
  readonly payloads: readonly number[] // bytes
  readonly roundTrips: number // of each payload, after a tenth as many to warm up
}

export async function measureNetwork(options: NetworkOptions): Promise<RoundTrip[]> {
  return [...(await measureTcp(options)), ...(await measureNats(options))]
}

async function measureTcp({ payloads, roundTrips }: NetworkOptions): Promise<RoundTrip[]> {
  const responder = await startResponder({ kind: 'tcp' })
  const socket = createConnection({ host: '127.0.0.1', port: responder.port, noDelay: true })
  await once(socket, 'connect')
  try {
    const results: RoundTrip[] = []
    for (const bytes of payloads) {
      const payload = Buffer.alloc(bytes, 1)
      results.push({
        kind: 'TCP echo',
        bytes,
        microseconds: await timeEach(roundTrips, () => echoOnce(socket, payload)),
      })
    }
    return results
  } finally {
    socket.destroy()
    responder.stop()
  }
}

/** Resolves when as many bytes came back as were sent. */
function echoOnce(socket: Socket, payload: Buffer): Promise<void> {
  return new Promise((resolve) => {
    let missing = payload.length
    const onData = (data: Buffer): void => {
      missing -= data.length
      if (missing > 0) return
      socket.off('data', onData)
      resolve()
    }
    socket.on('data', onData)
    socket.write(payload)
  })
}

function measureNats({ natsUrl, payloads, roundTrips }: NetworkOptions): Promise<RoundTrip[]> {
  return withResponders({ natsUrl }, async (ask) => {
    const results: RoundTrip[] = []
    for (const bytes of payloads) {
      const payload = new Uint8Array(bytes).fill(1)
      const one = await timeEach(roundTrips, () => ask(SUBJECTS.slice(0, 1), payload))
      const both = await timeEach(roundTrips, () => ask(SUBJECTS, payload))
      results.push({ kind: 'NATS request', bytes, microseconds: one })
      results.push({ kind: 'NATS fan-out to 2', bytes, microseconds: both })
    }
    return results
  })
}

export interface FanOut {
  readonly natsUrl: string
  readonly requestBytes: number // to each of two responders
  readonly replyBytes: number // of each
  readonly roundTrips: number
}

/** Both requests sent, both replies there. */
export function measureFanOut({ requestBytes, roundTrips, ...where }: FanOut): Promise<RoundTrip['microseconds']> {
  const payload = new Uint8Array(requestBytes).fill(1)
  return withResponders(where, (ask) => timeEach(roundTrips, () => ask(SUBJECTS, payload)))
}

const SUBJECTS = ['raw.one', 'raw.two']

/** Sends the same to each subject and waits for all replies. */
type Ask = (subjects: readonly string[], payload: Uint8Array) => Promise<unknown>

async function withResponders<T>(
  order: { readonly natsUrl: string; readonly replyBytes?: number },
  act: (ask: Ask) => Promise<T>,
): Promise<T> {
  const responders = await Promise.all(SUBJECTS.map((subject) => startResponder({ kind: 'nats', subject, ...order })))
  const connection = await connect({ servers: order.natsUrl })
  const ask: Ask = (subjects, payload) =>
    Promise.all(subjects.map((subject) => connection.request(subject, payload, { timeout: 5_000 })))
  try {
    return await act(ask)
  } finally {
    await connection.close()
    for (const responder of responders) responder.stop()
  }
}

async function timeEach(count: number, act: () => Promise<unknown>): Promise<RoundTrip['microseconds']> {
  const durations: number[] = []
  for (let i = -Math.ceil(count / 10); i < count; i++) {
    const started = performance.now()
    await act()
    if (i >= 0) durations.push((performance.now() - started) * 1000)
  }
  return { p50: percentile(durations, 0.5), p90: percentile(durations, 0.9), p99: percentile(durations, 0.99) }
}

interface Responder {
  readonly port: number // 0 for NATS
  stop(): void
}

async function startResponder(order: ResponderOrder): Promise<Responder> {
  const child: ChildProcess = fork(new URL('./responder.js', import.meta.url), [JSON.stringify(order)])
  const [ready] = (await once(child, 'message', { signal: AbortSignal.timeout(10_000) })) as [ResponderReady] // its first words
  return { port: ready.port, stop: () => void child.kill('SIGKILL') }
}
