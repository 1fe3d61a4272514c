// From the cluster's configuration to what each service is started with.

import { ClusterError } from '../errors.js'
import type { MetricsAddress } from '../metrics/metrics-server.js'
import type { NatsOptions } from '../transport/nats.js'
import type {
  AttentionOptions,
  DrafterOptions,
  ExpertWorkerOptions,
  ModelOptions,
  RouterOptions,
  TlsFiles,
} from './service.js'
import type { ClusterConfig } from './schema.js'

/** With fewer, drafting ahead takes from the step what it gives to the next (bench/speculation: two cores, 0.8). */
const AHEAD_THREADS = 6

const modelOptions = (config: ClusterConfig): ModelOptions => ({
  path: config.model,
  weights: config.weights,
  kvFormat: config.kvFormat,
  weightCache: config.weightCache === 'off' ? undefined : config.weightCache,
})

export const attentionOptions = (config: ClusterConfig): AttentionOptions => ({
  model: modelOptions(config),
  device: config.attentionDevice ?? config.device,
  threads: config.threads,
  machineCode: config.machineCode === 'on',
  kvTokens: config.kvTokens,
  microBatches: config.microBatches,
  hedge: config.hedge === 'on',
})

export const expertWorkerOptions = (config: ClusterConfig): ExpertWorkerOptions => ({
  model: modelOptions(config),
  device: config.expertDevice ?? config.device,
  threads: config.threads,
  machineCode: config.machineCode === 'on',
})

export const drafterOptions = (config: ClusterConfig): DrafterOptions => ({
  model: modelOptions(config),
  sources: config.draft,
  draftModel: config.draftModel,
  threads: 1,
  machineCode: config.machineCode === 'on',
  sharedNoise: config.draftNoise === 'shared',
  ahead: config.draftAhead === 'auto' ? config.threads >= AHEAD_THREADS : config.draftAhead === 'on',
})

export const routerOptions = (config: ClusterConfig): RouterOptions => ({
  model: modelOptions(config),
  host: config.host,
  httpPort: config.http,
  grpcPort: config.grpc,
  apiKeys: config.apiKey,
  rateLimit: { requestsPerSecond: config.rateLimitRequests, tokensPerMinute: config.rateLimitTokens },
  tls: tlsFiles(config),
  numAttention: config.attention,
  numExperts: config.experts,
  replicas: config.replicas,
  rebalance: config.rebalance === 'on',
  draft: config.draft, // also without a drafter: one may come
  draftSharing: config.draftSharing,
  acceptance: config.acceptance,
  draftPrice: config.draftPrice,
  maxTreeNodes: config.maxTreeNodes,
  tokenBudget: config.tokenBudget,
  prefillChunk: config.prefillChunk,
  stepTargetMs: config.stepTargetMs,
  costModelFile: config.costModelFile === 'off' ? undefined : config.costModelFile,
  prefixCache: config.prefixCache === 'on',
  maxRunning: config.maxRunning,
  maxWaiting: config.maxWaiting,
  warmTemplates: true,
  traceDir: config.traceDir,
  traceContent: config.traceContent,
  traceSlowMs: config.traceSlowMs,
  traceExperts: tracesExperts(config),
})

/** Where a service answers `/metrics`, `/health` and `/ready`; undefined: nowhere beside its doors. */
export const metricsAddress = ({ metricsHost: host, metricsPort: port }: ClusterConfig): MetricsAddress | undefined =>
  port === undefined || port === 'off' ? undefined : { host, port }

/** How a process gets on the bus: its name there, and the place where its replies arrive. */
export const natsOptions = (config: ClusterConfig, name: string, inbox: string): NatsOptions => ({
  url: config.nats ?? '',
  name,
  inbox,
  login: { user: config.natsUser, password: config.natsPassword },
  credsFile: config.natsCreds,
  tls: { ca: config.natsTlsCa, cert: config.natsTlsCert, key: config.natsTlsKey },
  waitMs: config.natsWaitSeconds * 1000,
})

/** Throws `invalid_argument` where there is no folder for them, or nothing may be told of tokens but hashes. */
export function tracesExperts({ traceExperts, traceDir, traceContent }: ClusterConfig): boolean {
  if (traceExperts === 'off') return false
  if (traceDir !== undefined && traceContent !== 'hash') return true
  const found = traceDir === undefined ? 'none' : '--trace-content hash, which experts would tell more than'
  throw new ClusterError('invalid_argument', `--trace-experts: want --trace-dir with ids or text, found ${found}`, {
    details: { reason: 'BAD_CONFIG' },
  })
}

/** Throws `invalid_argument` where one file is given and another is missing. */
export function tlsFiles({ tlsCert: cert, tlsKey: key, tlsClientCa: clientCa }: ClusterConfig): TlsFiles | undefined {
  if (cert !== undefined && key !== undefined) return { cert, key, clientCa }
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined
  throw new ClusterError('invalid_argument', 'TLS: want --tls-cert and --tls-key, both, found one of them or neither', {
    details: { reason: 'BAD_CONFIG' },
  })
}
