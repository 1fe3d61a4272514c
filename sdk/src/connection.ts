// Calls over gRPC: the only module that imports it. One connection per address; several addresses are used in turn.
// Every failure leaves here as a BanyanError.

import * as grpc from '@grpc/grpc-js'
import { BanyanError, CODES } from './errors.js'
import { errorInfoCodec, message, statusCodec, type Plain } from './proto.js'

const SERVICE = '/banyan.v1.InferenceService'
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024
const KEEPALIVE_MS = 2_000
const KEEPALIVE_TIMEOUT_MS = 4_000 // longer than a busy event loop is away, here or there

export interface ConnectionOptions {
  readonly address: string | readonly string[]
  readonly apiKey?: string | undefined
  readonly tls?:
    { readonly rootCertificate?: Buffer; readonly privateKey?: Buffer; readonly certificate?: Buffer } | undefined
}

export interface CallSettings {
  readonly signal?: AbortSignal | undefined
  readonly deadlineUnixMs?: number | undefined
}

export interface Connection {
  /** How many addresses were given: a call that fails at one may be tried at the next. */
  readonly numAddresses: number
  /** At the next address, or at the named one (0 … numAddresses-1). */
  unary(method: string, request: Plain, settings: CallSettings, at?: number): Promise<Plain>
  stream(method: string, request: Plain, settings: CallSettings): AsyncGenerator<Plain>
  close(): void
}

const identity = (bytes: Buffer): Buffer => bytes

export function connect({ address, apiKey, tls }: ConnectionOptions): Connection {
  const addresses = typeof address === 'string' ? [address] : address
  if (addresses.length === 0) throw new BanyanError('invalid_argument', 'address: want at least one host:port')
  const credentials = tls
    ? grpc.credentials.createSsl(tls.rootCertificate ?? null, tls.privateKey ?? null, tls.certificate ?? null)
    : grpc.credentials.createInsecure()
  const clients = addresses.map(
    (target) =>
      new grpc.Client(target, credentials, {
        'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
        'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
        // A frozen server's kernel still takes what is sent: only an answer shows that it lives.
        'grpc.keepalive_time_ms': KEEPALIVE_MS,
        'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      }),
  )
  let turn = 0
  const clientAt = (index: number): grpc.Client => {
    const client = clients[index % clients.length]
    if (client === undefined) throw new BanyanError('internal', 'no connection')
    return client
  }
  const metadata = (): grpc.Metadata => {
    const values = new grpc.Metadata()
    if (apiKey !== undefined) values.set('authorization', `Bearer ${apiKey}`)
    return values
  }
  const callOptions = ({ deadlineUnixMs }: CallSettings): grpc.CallOptions =>
    deadlineUnixMs === undefined ? {} : { deadline: deadlineUnixMs }

  const unary: Connection['unary'] = (method, request, settings, at = turn++) =>
    new Promise((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, reply?: Buffer): void => {
        settings.signal?.removeEventListener('abort', abort)
        if (error === null) resolve(message(`${method}Response`).decode(reply ?? Buffer.alloc(0)))
        else reject(toBanyanError(error, settings))
      }
      throwIfAborted(settings)
      const bytes = encode(method, request)
      const path = `${SERVICE}/${method}`
      const call = clientAt(at).makeUnaryRequest(
        path,
        identity,
        identity,
        bytes,
        metadata(),
        callOptions(settings),
        done,
      )
      const abort = (): void => call.cancel()
      settings.signal?.addEventListener('abort', abort, { once: true })
    })

  async function* stream(method: string, request: Plain, settings: CallSettings): AsyncGenerator<Plain> {
    throwIfAborted(settings)
    const bytes = encode(method, request)
    const path = `${SERVICE}/${method}`
    const client = clientAt(turn++)
    const call = client.makeServerStreamRequest(path, identity, identity, bytes, metadata(), callOptions(settings))
    const abort = (): void => call.cancel()
    settings.signal?.addEventListener('abort', abort, { once: true })
    const decode = message(`${method}Response`)
    try {
      // grpc-js streams the deserialiser's values: buffers here.
      for await (const reply of call as AsyncIterable<Buffer>) yield decode.decode(reply)
    } catch (error) {
      throw toBanyanError(error, settings)
    } finally {
      settings.signal?.removeEventListener('abort', abort)
      call.cancel()
    }
  }

  return { numAddresses: clients.length, unary, stream, close: () => clients.forEach((client) => client.close()) }
}

function throwIfAborted({ signal }: CallSettings): void {
  if (signal?.aborted === true) throw new BanyanError('cancelled', 'the call was aborted', { cause: signal.reason })
}

/** Throws `invalid_argument` for a value that its field cannot hold. */
function encode(method: string, request: Plain): Buffer {
  try {
    return message(`${method}Request`).encode(request)
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error)
    throw new BanyanError('invalid_argument', `${method} request: ${what}`, { cause: error })
  }
}

const isServiceError = (error: unknown): error is grpc.ServiceError =>
  error instanceof Error && 'code' in error && 'metadata' in error

function toBanyanError(error: unknown, { signal }: CallSettings): BanyanError {
  if (error instanceof BanyanError) return error
  if (!isServiceError(error))
    return new BanyanError('internal', error instanceof Error ? error.message : String(error), { cause: error })
  const [details] = error.metadata.get('grpc-status-details-bin')
  const [retryAfter] = error.metadata.get('retry-after-ms')
  const info = details instanceof Buffer ? readErrorInfo(details) : { reason: '', metadata: {} }
  const retryAfterMs = retryAfter === undefined ? undefined : Number(retryAfter)
  const code = CODES[error.code] ?? 'unknown'
  // Cut without a word, though nobody here asked for it: the server is leaving. (A connection that is reset after a
  // GOAWAY reaches us as a stream that was closed without an error, which grpc-js calls internal.)
  if ((code === 'cancelled' || code === 'internal') && details === undefined && signal?.aborted !== true)
    return new BanyanError('unavailable', `the server ended the call: ${error.details}`, { cause: error })
  return new BanyanError(code, error.details, { cause: error, ...info, retryAfterMs })
}

/** The google.rpc.ErrorInfo among a status' details. */
function readErrorInfo(bytes: Buffer): { reason: string; metadata: Record<string, string> } {
  try {
    // The shapes are those of the messages that statusCodec and errorInfoCodec were built from.
    const { details } = statusCodec.decode(bytes) as { details: readonly { typeUrl: string; value: Uint8Array }[] }
    const info = details.find(({ typeUrl }) => typeUrl.endsWith('google.rpc.ErrorInfo'))
    if (info !== undefined)
      return errorInfoCodec.decode(info.value) as { reason: string; metadata: Record<string, string> }
  } catch {
    // Details are advice: a status without readable ones still has its code and message.
  }
  return { reason: '', metadata: {} }
}
