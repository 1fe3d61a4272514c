// The endpoint of a replay: what it is, how it is asked, and what it tells of itself before and after.

import {
  askServer,
  createGrpcClient,
  createHttpCaller,
  createOpenAiClient,
  detokenize,
  systemClock,
  tokenize,
  type ReplayClient,
  type ServerInfo,
  type Tokenizer,
} from '../../replay/src/index.js'
import { BanyanClient, BanyanError } from '../../sdk/src/index.js'
import { ClusterError } from '../../lib/errors.js'
import type { ClientTls } from '../client-tls.js'
import { notify } from '../terminal.js'

export interface Endpoint {
  readonly name: string
  readonly client: ReplayClient
  readonly tokenizer: Tokenizer | undefined // where there is an HTTP door to ask
  info(): Promise<ServerInfo>
  close(): void
}

export interface EndpointOptions {
  readonly apiKey: string | undefined
  readonly tls: ClientTls | undefined
  readonly model: string | undefined
  readonly connectTimeoutMs: number
  readonly signal?: AbortSignal // interrupts what is asked before the run
  readonly firstByteTimeoutMs: number | undefined // bounds the questions beside the requests too
}

/** Any OpenAI-compatible endpoint. */
export function openHttpEndpoint(url: string, options: EndpointOptions): Endpoint {
  const { apiKey, tls, model, connectTimeoutMs, firstByteTimeoutMs: timeoutMs, signal } = options
  const http = createHttpCaller({ clock: systemClock, apiKey, tls, connectTimeoutMs })
  const ask = { http, clock: systemClock, url, ...(timeoutMs !== undefined && { timeoutMs }) }
  const askTokens = { ...ask, ...(signal && { stop: signal }) }
  return {
    name: url,
    client: createOpenAiClient({ url, http, model, notice: notify }),
    tokenizer: {
      tokenize: async (text, how) => (await tokenize(askTokens, text, how)) ?? missing(url, '/tokenize'),
      detokenize: async (tokens) => (await detokenize(ask, tokens)) ?? missing(url, '/detokenize'),
    },
    info: () => askServer(ask),
    close: () => http.close(),
  }
}

function missing(url: string, path: string): never {
  throw new ClusterError('unimplemented', `${url}: want an answer of ${path}, found none`)
}

/** A Banyan cluster's gRPC door. */
export function openGrpcEndpoint(address: string, { apiKey, tls, firstByteTimeoutMs }: EndpointOptions): Endpoint {
  const files = tls && {
    ...(tls.ca && { rootCertificate: tls.ca }),
    ...(tls.cert && { certificate: tls.cert }),
    ...(tls.key && { privateKey: tls.key }),
  }
  const options = { address, apiKey, tls: files }
  const client = createGrpcClient(options)
  const call = { deadlineMs: Math.min(firstByteTimeoutMs ?? Infinity, MAX_ASKING_MS) }
  const asking = new BanyanClient({ ...options, maxAttempts: 1 })
  return {
    name: `grpc://${address}`,
    client,
    tokenizer: undefined,
    info: async () => {
      const [model, server] = await Promise.all([told(asking.modelInfo(call)), told(asking.serverInfo(call))])
      return {
        model: model?.id,
        version: server?.version,
        fingerprint: server?.fingerprint,
        fingerprintParts: server?.fingerprintParts ?? {},
        maxModelLen: model?.maxPositions,
        vocabSize: model?.vocabSize,
        reservedTokens: model?.reservedTokens ?? [],
        metrics: new Map(),
      }
    },
    close: () => {
      client.close()
      asking.close()
    },
  }
}

const MAX_ASKING_MS = 10_000

/** Undefined where the door does not answer: the run itself counts that. */
const told = <T>(answer: Promise<T>): Promise<T | undefined> =>
  answer.catch((error: unknown) => {
    if (error instanceof BanyanError) return undefined
    throw error
  })
