// What a service is started with: everything that differs between a test, a laptop and a cluster is a parameter.

import type { RateLimit } from './api-keys.js'
import type { ActorSystem } from '../actor/actor.js'
import type { ExpertNeighbours } from '../compute/expert-call.js'
import type { Kernels } from '../compute/kernels.js'
import type { OnProgress } from '../decode/load-progress.js'
import type { Monitor } from '../metrics/monitor.js'
import type { ClusterError } from '../errors.js'
import type { KvFormat } from '../model/kv-formats.js'
import type { WeightFormat } from '../model/spec.js'
import type { Tracer } from '@opentelemetry/api'
import type { KeptTraces } from '../tracing/tracing.js'
import type { RecordStore } from '../transport/record-store.js'
import type { Transport } from '../transport/transport.js'

/** One JSON line per call; prompt text never goes in. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

export interface ServiceDeps {
  readonly system: ActorSystem
  readonly transport: Transport
  readonly tracer: Tracer
  readonly keptTraces?: KeptTraces | undefined // requests that were slow or failed; absent: only samplers choose
  readonly logger: Logger
  readonly cluster: string // separates clusters that share a NATS server
  readonly id: string // e.g. 'expert-worker-0', unique in the cluster
  readonly incarnation: string // new at every start of the process
  readonly pid: number
  readonly node?: string | undefined // the machine, where it has a name
  readonly neighbours?: ExpertNeighbours | undefined // of services that share a process
  readonly kernels?: Kernels | undefined // to compute with; absent: this process's own
  readonly monitor?: Monitor | undefined // what looks at this process alone; absent: nobody does
  readonly drainWaitMs?: number | undefined // that a drain waits for others, as in `drain-time.ts`; absent: its default
  readonly onDeviceLost?: ((error: ClusterError) => void) | undefined // ends the process: a lost device does not come back to it
  readonly leaving?: AbortSignal | undefined // gives up the load of a start under way
  readonly onLoading?: OnProgress | undefined // hears how far loads have come
  readonly records?: RecordStore | undefined // where accepted requests are kept; absent: in memory
}

export interface ModelOptions {
  readonly path: string
  readonly weights: WeightFormat
  readonly kvFormat?: KvFormat | undefined // f32, unless given
  readonly weightCache?: string | undefined // folder where packed weights are kept; absent: packed at every start
}

export interface AttentionOptions {
  readonly model: ModelOptions
  readonly device: string // as in the setting
  readonly threads: number // compute threads of this worker
  readonly machineCode: boolean // where the processor has wider vectors than WebAssembly
  readonly kvTokens: number // KV capacity in tokens
  readonly microBatches: number // 1 or 2 parts of a step take turns between attention and experts
  readonly hedge: boolean // asks another replica beside an expert worker whose answer is late
}

export interface ExpertWorkerOptions {
  readonly model: ModelOptions
  readonly device: string // as in the setting
  readonly threads: number
  readonly machineCode: boolean
}

export interface DrafterOptions {
  readonly model: ModelOptions
  readonly sources: readonly string[] // `auto`: all that the model has what they need for
  readonly draftModel?: string | undefined // folder of a model that drafts for this one
  readonly threads: number
  readonly machineCode: boolean
  readonly sharedNoise: boolean // at temperature > 0, drafts are drawn with the sampler's noise
  readonly ahead: boolean // drafts the likely next tree while a step is computed
}

/** PEM files; a new certificate is taken while the service runs. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  readonly clientCa?: string | undefined // clients must show a certificate that it vouches for
}

export interface RouterOptions {
  readonly model: ModelOptions
  readonly host: string
  readonly httpPort: number // 0 takes a free one
  readonly grpcPort: number
  readonly apiKeys: readonly string[] // as in `api-keys.ts`
  readonly rateLimit?: RateLimit | undefined // of callers whose key has none of its own
  readonly tls?: TlsFiles | undefined // of both doors
  readonly numAttention: number // workers to wait for before the router is ready
  readonly numExperts: number
  readonly replicas: number // of every expert shard
  readonly rebalance: boolean // shards move to where expert workers have less to do
  readonly draft: readonly string[] // sources; empty is off
  readonly draftSharing: 'key' | 'all' | 'off' // whose texts a sequence may be drafted from, beside its own
  readonly acceptance: 'exact' | 'typical' // typical is lossy
  readonly draftPrice?: number | undefined // fixed least value of a drafted node; absent: by the measured cost of a step
  readonly maxTreeNodes: number
  readonly tokenBudget: number // rows per step
  readonly prefillChunk: number // rows of one prompt per step
  readonly stepTargetMs?: number | undefined // of a step with prefill while others decode; absent: by the decode step
  readonly costModelFile?: string | undefined // where measured step costs are kept
  readonly prefixCache: boolean
  readonly maxRunning: number // sequences per attention worker
  readonly maxWaiting: number // sequences, all workers
  readonly warmTemplates?: boolean | undefined // what renders chats starts with the router; absent: with the first chat
  readonly traceDir?: string | undefined // where ended requests are recorded
  readonly traceSlowMs?: number | undefined // spans of requests that fail or take as long are kept
  readonly traceExperts?: boolean | undefined // the experts of every token go into files beside the records
  readonly traceContent?: 'ids' | 'text' | 'hash' | undefined // what records and spans may say of texts, where somebody said so
}

/** A started service. `drain` finishes what was accepted and refuses the rest; `stop` leaves at once. */
export interface RunningService {
  readonly address: string
  drain(): Promise<void>
  stop(): Promise<void>
}

export interface RunningRouter extends RunningService {
  readonly http: string // URL
  readonly grpc: string // host:port
}
