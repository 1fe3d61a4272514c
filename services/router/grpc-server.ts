// The gRPC door. The only module of services and lib that imports gRPC.

import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'
import { HealthImplementation, protoPath as healthProto } from 'grpc-health-check'
import { once } from 'node:events'
import { join } from 'node:path'
import { hostForUrl } from '../../lib/config/host-for-url.js'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import { packageRoot } from '../../lib/package-files.js'
import { createApiKeys, type ApiKeys } from './api-keys.js'
import type { DoorOptions } from './door-options.js'
import type { GenerateEvent } from './engine.js'
import { certificateProvider } from './grpc/certificates.js'
import {
  checkOffsets,
  toGenerateInput,
  toModelInfo,
  toResponse,
  toServerInfo,
  type WireGenerateRequest,
  type WireResumeRequest,
} from './grpc/convert.js'
import { withCompleteDescriptors } from './grpc/reflection-descriptors.js'
import { retryAfterMs, shortened, statusDetails, STATUS } from './grpc/rich-errors.js'
import { callerOf, createRateLimits } from './rate-limits.js'
import { sessionName } from './session-name.js'
import type { TlsSource } from './tls-source.js'

const SERVICE = 'banyan.v1.InferenceService'
const MAX_REQUEST_BYTES = 16 * 1024 * 1024
const MAX_STREAMS = 4096 // of one connection
const IDLE_CONNECTION_MS = 10 * 60_000

export interface GrpcServer {
  readonly address: string // host:port
  /** What the health service says, also to those who watch it. */
  readonly setServing: (isServing: boolean) => void
  /** Serves no more, and has every connection's client make its next call on another one; calls under way go on. */
  drain(graceMs: number): void
  /** Lets running calls end within the grace, then cuts them. */
  stop(graceMs: number): Promise<void>
}

type Call<Q> = grpc.ServerWritableStream<Q, Record<string, unknown>>
type Unary<Q> = (
  call: grpc.ServerUnaryCall<Q, Record<string, unknown>>,
  callback: grpc.sendUnaryData<Record<string, unknown>>,
) => void

/** Opens the port. Throws `unavailable` where it is taken. */
export async function startGrpcServer(options: DoorOptions): Promise<GrpcServer> {
  const { engine, logger } = options
  const keys = createApiKeys(options.apiKeys)
  const rates = options.rates ?? createRateLimits({ common: {}, own: keys.limitsOf, now: () => performance.now() })
  const definition = loadSync(['banyan/v1/inference.proto', healthProto], {
    includeDirs: [join(packageRoot(), 'proto')],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  })
  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.max_connection_idle_ms': IDLE_CONNECTION_MS,
  })
  const service = definition[SERVICE]
  if (service === undefined || !isService(service))
    throw new ClusterError('internal', `${SERVICE} is not in the proto file`)
  server.addService(service, {
    Generate: (call: Call<WireGenerateRequest>) =>
      void stream(call, { keys, logger }, (request, tenant, options) => {
        const caller = callerOf(tenant, addressOf(call))
        rates.takeRequest(caller)
        return rates
          .metered(engine, caller)
          .generate({ ...toGenerateInput(request, tenant), ...describeCall(call.metadata) }, options)
      }),
    Resume: (call: Call<WireResumeRequest>) =>
      void stream(call, { keys, logger }, ({ request_id: requestId, offsets }, tenant, options) =>
        engine.resume({ requestId, tenant, held: checkOffsets(offsets) }, options),
      ),
    Cancel: unary<{ request_id: string }>(keys, async ({ request_id }, tenant) => ({
      cancelled: (await engine.cancel(request_id, tenant)) === true,
    })),
    GetModelInfo: unary(keys, () => toModelInfo(engine)),
    GetServerInfo: unary(keys, () => toServerInfo(engine)),
  })
  const health = createHealth(engine.isReady())
  health.implementation.addToServer(server)
  new ReflectionService(withCompleteDescriptors(definition)).addToServer(server)
  const port = await bind(server, options)
  return {
    address: `${hostForUrl(options.host)}:${port}`,
    setServing: health.setServing,
    drain: (graceMs) => {
      health.setServing(false)
      server.drain(`${hostForUrl(options.host)}:${port}`, graceMs)
    },
    stop: (graceMs) => stopServer(server, graceMs),
  }
}

const isService = (value: object): value is grpc.ServiceDefinition => !('format' in value)

function createHealth(isReady: boolean) {
  const status = (isServing: boolean) => (isServing ? 'SERVING' : 'NOT_SERVING')
  const implementation = new HealthImplementation({ '': status(isReady), [SERVICE]: status(isReady) })
  let current = isReady
  return {
    implementation,
    setServing: (isServing: boolean): void => {
      if (isServing === current) return // watchers are told of changes
      current = isServing
      for (const name of ['', SERVICE]) implementation.setStatus(name, status(isServing))
    },
  }
}

function bind(server: grpc.Server, { host, port, tls }: DoorOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${hostForUrl(host)}:${port}`, credentials(tls), (error, bound) => {
      if (error === null) resolve(bound)
      else reject(new ClusterError('unavailable', `gRPC port ${port} on ${host}: ${error.message}`, { cause: error }))
    })
  })
}

function credentials(tls: TlsSource | undefined): grpc.ServerCredentials {
  if (tls === undefined) return grpc.ServerCredentials.createInsecure()
  const provider = certificateProvider(tls)
  const asksClient = tls.context.ca !== undefined
  // The first parameter is the server's own certificate, whatever grpc-js calls it.
  return grpc.experimental.createCertificateProviderServerCredentials(
    provider,
    asksClient ? provider : null,
    asksClient,
  )
}

function stopServer(server: grpc.Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown()
      resolve()
    }, graceMs)
    server.tryShutdown(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function toStatus(error: unknown): Partial<grpc.StatusObject> {
  const failure = shortened(ClusterError.from(error))
  const metadata = new grpc.Metadata()
  metadata.set('grpc-status-details-bin', statusDetails(failure))
  if (failure.isRetryable) {
    metadata.set('retry-after-ms', String(retryAfterMs(failure)))
    metadata.set('grpc-retry-pushback-ms', String(retryAfterMs(failure)))
  }
  return { code: STATUS[failure.code], details: failure.message, metadata }
}

function tenantOf(metadata: grpc.Metadata, keys: ApiKeys): string {
  const [authorization] = metadata.get('authorization')
  const [key] = metadata.get('x-api-key')
  return keys.check(authorization?.toString() ?? (key === undefined ? undefined : `Bearer ${key.toString()}`))
}

/** Of which conversation and which trace a call is part. */
function describeCall(metadata: grpc.Metadata) {
  const [session] = metadata.get('x-session-id')
  const [traceparent] = metadata.get('traceparent')
  return { session: sessionName(session?.toString()), traceparent: traceparent?.toString() }
}

/** '127.0.0.1:4711' → '127.0.0.1' */
const addressOf = <Q>(call: Call<Q>): string => call.getPeer().replace(/:\d+$/, '')

type Answer<Q> = (request: Q, tenant: string) => Record<string, unknown> | Promise<Record<string, unknown>>

function unary<Q>(keys: ApiKeys, answer: Answer<Q>): Unary<Q> {
  const answerCall = async ({ metadata, request }: Parameters<Unary<Q>>[0]) => answer(request, tenantOf(metadata, keys))
  return (call, callback) => {
    answerCall(call).then(
      (reply) => callback(null, reply),
      (error: unknown) => callback(toStatus(error)),
    )
  }
}

const failStream = <Q>(call: Call<Q>, error: unknown): boolean => call.emit('error', toStatus(error))

/** Opens the events of a call. */
type Events<Q> = (
  request: Q,
  tenant: string,
  options: { readonly signal: AbortSignal; readonly deadlineMs: number | undefined },
) => AsyncIterable<GenerateEvent>

/** Streams a request's events at the client's pace; its cancel or deadline ends the request. */
async function stream<Q>(
  call: Call<Q>,
  { keys, logger }: { readonly keys: ApiKeys; readonly logger: Logger },
  events: Events<Q>,
): Promise<void> {
  const abort = new AbortController()
  call.once('cancelled', () => abort.abort(new ClusterError('cancelled', 'the client cancelled the call')))
  try {
    const options = { signal: abort.signal, deadlineMs: deadlineOf(call) }
    let requestId = ''
    for await (const event of events(call.request, tenantOf(call.metadata, keys), options)) {
      if (event.kind === 'accepted') requestId = event.requestId
      if (call.cancelled) return
      if (!call.write(toResponse(requestId, event))) await writable(call, abort.signal)
    }
    call.end()
  } catch (error) {
    if (call.cancelled) return
    const failure = ClusterError.from(error)
    if (failure.code === 'internal') logger.error({ error: failure.message }, 'a gRPC call failed')
    failStream(call, failure)
  }
}

function deadlineOf<Q>(call: Call<Q>): number | undefined {
  const deadline = call.getDeadline()
  const unixMs = deadline instanceof Date ? deadline.getTime() : deadline
  return Number.isFinite(unixMs) ? unixMs : undefined
}

/** The client reads slowly: wait for room, or for its leaving. */
async function writable<Q>(call: Call<Q>, signal: AbortSignal): Promise<void> {
  try {
    await once(call, 'drain', { signal })
  } catch (error) {
    throw new ClusterError('cancelled', 'the client cancelled the call', { cause: error })
  }
}
