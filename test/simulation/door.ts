// Between a simulated client and a router's engine: what the gRPC door and a connection to it are, without sockets. The
// messages are the public ones, as bytes; the conversions are the door's and the SDK's own.
//
// Invariants
//   D1  Answers of a call arrive in order; a router that dies or cuts the client off ends them with `unavailable`.
//   D2  A client that leaves aborts its call at the router, as soon as that hears of it.

import protobuf from 'protobufjs'
import { join } from 'node:path'
import { ClusterError } from '../../lib/errors.js'
import { BanyanError } from '../../sdk/src/errors.js'
import { message, type Plain } from '../../sdk/src/proto.js'
import type { CallSettings, Connection } from '../../sdk/src/connection.js'
import {
  checkOffsets,
  toGenerateInput,
  toResponse,
  type WireGenerateRequest,
  type WireResumeRequest,
} from '../../services/router/grpc/convert.js'
import type { GenerateEvent, InferenceEngine } from '../../services/router/engine.js'
import { repositoryRoot } from '../helpers/paths.js'
import type { Machine } from './machine.js'
import type { Timeline } from './timeline.js'

/** A router that can be called. */
export interface Door {
  readonly machine: Machine
  readonly engine: InferenceEngine
}

export interface Wire {
  readonly timeline: Timeline
  readonly latencyMs: () => number
}

const LOOK_MS = 500
const KEEPALIVE_MS = 4_000 // a router that is silent for so long is given up

const root = new protobuf.Root()
root.loadSync(join(repositoryRoot, 'proto/banyan/v1/inference.proto'), { keepCase: true })
const generateType = root.lookupType('banyan.v1.GenerateRequest')
const resumeType = root.lookupType('banyan.v1.ResumeRequest')
const responseType = root.lookupType('banyan.v1.GenerateResponse')
const AS_DOOR = { longs: String, enums: String, defaults: true, oneofs: true, arrays: true } as const
const NOBODY = '' // the tenant of callers without a key

/** Calls to whichever routers there are now; `doors` has one place per address, empty while its router is down. */
export function connectTo(client: Machine, wire: Wire, doors: () => readonly (Door | undefined)[]): Connection {
  let turn = 0
  const nextDoor = (at = turn++): Door | undefined => doors()[at % doors().length]

  return {
    get numAddresses() {
      return doors().length
    },
    unary: async (method, request, settings, at) => {
      const call = openCall(client, wire, nextDoor(at), settings)
      call.start(async ({ engine }) => {
        if (method !== 'Cancel') throw new ClusterError('unimplemented', `${method} is not simulated`)
        const cancelled = await engine.cancel(String(request.requestId), NOBODY)
        call.answer(message('CancelResponse').encode({ cancelled }))
      })
      for await (const bytes of call.answers) return message(`${method}Response`).decode(bytes)
      throw new BanyanError('internal', `${method}: no answer`)
    },
    stream: (method, request, settings) => stream(openCall(client, wire, nextDoor(), settings), method, request),
    close: () => undefined,
  }
}

async function* stream(call: Call, method: string, request: Plain): AsyncGenerator<Plain> {
  const bytes = message(`${method}Request`).encode(request)
  call.start(async ({ engine }, { signal, deadlineMs }) => {
    let requestId = ''
    for await (const event of events(engine, method, bytes, { signal, deadlineMs })) {
      if (event.kind === 'accepted') requestId = event.requestId
      call.answer(responseType.encode(responseType.fromObject(toResponse(requestId, event))).finish())
    }
  })
  const decode = message(`${method}Response`)
  try {
    for await (const answer of call.answers) yield decode.decode(answer)
  } finally {
    call.leave()
  }
}

/** What the door does with a call's message. */
function events(
  engine: InferenceEngine,
  method: string,
  bytes: Buffer,
  options: Parameters<InferenceEngine['generate']>[1],
): AsyncIterable<GenerateEvent> {
  const type = method === 'Generate' ? generateType : resumeType
  const request = type.toObject(type.decode(bytes), AS_DOOR) // its fields are those of the message
  if (method === 'Generate') return engine.generate(toGenerateInput(request as WireGenerateRequest, NOBODY), options)
  const { request_id: requestId, offsets } = request as WireResumeRequest
  return engine.resume({ requestId, tenant: NOBODY, held: checkOffsets(offsets) }, options)
}

type Serve = (
  door: Door,
  call: { readonly signal: AbortSignal; readonly deadlineMs: number | undefined },
) => Promise<void>

interface Call {
  start(serve: Serve): void
  /** From the router's side. */
  answer(bytes: Uint8Array): void
  readonly answers: AsyncIterable<Uint8Array>
  leave(): void
}

/** One call: its request travels, the router serves it, what it answers travels back. */
function openCall(client: Machine, wire: Wire, door: Door | undefined, settings: CallSettings): Call {
  const { timeline } = wire
  const { signal, deadlineUnixMs } = settings
  const abort = new AbortController() // at the router
  const arrived: Uint8Array[] = []
  let failure: BanyanError | undefined
  let isOver = false
  let wake = (): void => undefined
  let lastMs = 0
  const cancels: (() => void)[] = []

  const inClient = (run: () => void): void => client.run(run)
  const end = (error?: BanyanError): void => {
    if (isOver) return
    isOver = true
    failure = error
    for (const cancel of cancels.splice(0)) cancel()
    signal?.removeEventListener('abort', onAbort)
    wake()
  }
  const endsWith = (code: BanyanError['code'], why: string) => () => end(new BanyanError(code, why))
  const onAbort = (): void => {
    leave()
    end(new BanyanError('cancelled', 'the call was aborted', { cause: signal?.reason }))
  }

  /** To the client, in order; what the network does not let through is lost with the connection. */
  const toClient = (fromMs: number, run: () => void): void => {
    lastMs = Math.max(lastMs, fromMs + wire.latencyMs())
    timeline.at(lastMs, () => inClient(run))
  }
  const toRouter = (run: (door: Door) => void): void => {
    const target = door
    if (target === undefined) return
    timeline.at(client.sendMs + wire.latencyMs(), () => target.machine.run(() => run(target)))
  }

  const start = (serve: Serve): void => {
    if (signal?.aborted === true) return end(new BanyanError('cancelled', 'the call was aborted'))
    signal?.addEventListener('abort', onAbort, { once: true })
    if (deadlineUnixMs !== undefined) {
      const late = endsWith('deadline_exceeded', 'the call was not answered within its deadline')
      cancels.push(client.clock.after(Math.max(0, deadlineUnixMs - client.clock.now()), late))
    }
    const refused = (): void => toClient(client.sendMs, endsWith('unavailable', 'connection refused'))
    if (door === undefined || door.machine.state === 'dead') return refused()
    door.machine.onDeath(() => toClient(timeline.nowMs, endsWith('unavailable', 'the connection was reset')))
    watchSilence(door)
    const timeoutMs = deadlineUnixMs === undefined ? undefined : deadlineUnixMs - client.clock.now() // as gRPC sends it
    toRouter((target) => {
      const deadlineMs = timeoutMs === undefined ? undefined : target.machine.clock.now() + timeoutMs
      serve(target, { signal: abort.signal, deadlineMs }).then(
        () => toClient(target.machine.sendMs, () => end()),
        (error: unknown) => {
          const { code, message: why, details } = ClusterError.from(error)
          const { reason = '', retryAfterMs } = details
          const advice = retryAfterMs === undefined ? undefined : Number(retryAfterMs)
          const told = new BanyanError(code, why, { reason, metadata: details, retryAfterMs: advice })
          toClient(target.machine.sendMs, () => end(told))
        },
      )
    })
  }

  /** Keepalive: a router that is frozen is noticed in the end. */
  const watchSilence = ({ machine }: Door): void => {
    let silentMs = 0
    const look = (): void => {
      silentMs = machine.state === 'frozen' ? silentMs + LOOK_MS : 0
      if (silentMs >= KEEPALIVE_MS) end(new BanyanError('unavailable', 'the connection was given up'))
      else cancelLook = client.clock.after(LOOK_MS, look)
    }
    let cancelLook = client.clock.after(LOOK_MS, look)
    cancels.push(() => cancelLook())
  }

  const leave = (): void => {
    if (!isOver) toRouter(() => abort.abort(new ClusterError('cancelled', 'the client cancelled the call')))
    end()
  }

  async function* answers(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = arrived.shift()
      if (next !== undefined) yield next
      else if (!isOver) await new Promise<void>((resolve) => (wake = resolve))
      else if (failure !== undefined) throw failure
      else return
    }
  }

  return {
    start,
    answer: (bytes) => {
      if (door === undefined || door.machine.state === 'dead') return
      toClient(door.machine.sendMs, () => {
        if (isOver) return
        arrived.push(bytes)
        wake()
      })
    },
    answers: { [Symbol.asyncIterator]: answers },
    leave,
  }
}
