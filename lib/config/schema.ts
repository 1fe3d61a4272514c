// Every setting of a cluster, once: its form (zod), what a bad value should have been, and where it can be set. Flags,
// environment, file and `--print-config` are all read from this table.
//
// Invariants
//   G1  A setting has one name: `kvTokens` here, `--kv-tokens`, `BANYAN_KV_TOKENS`, `kv-tokens:` in a file.
//   G2  A value from a flag or the environment is text; one from a file may be of its own type. Both mean the same.

import * as z from 'zod'
import { KV_FORMATS } from '../model/kv-formats.js'
import { WEIGHT_FORMATS } from '../model/weight-formats.js'
import { SIZE_BOUNDS } from '../wire/sizes.js'
import { KNOWN_VERSIONS } from '../wire/versions.js'
import { isApiKey } from './api-keys.js'

const whole = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^\d{1,15}$/.test(value.trim()) ? Number(value) : value),
    z.int().min(min).max(max),
  )
const size = (name: keyof typeof SIZE_BOUNDS) => whole(SIZE_BOUNDS[name].min, SIZE_BOUNDS[name].max)
const ratio = z.preprocess(
  (value) => (typeof value === 'string' && value.trim() !== '' ? Number(value) : value),
  z.number().min(0).max(1),
)
const text = z.string().min(1)
const list = z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(z.string()))
export const DRAFT_SOURCES = ['prompt-lookup', 'suffix', 'ngram', 'medusa', 'eagle', 'model']
const DEVICES = /^(auto|cpu|webgpu|cuda(:\d+)?)$/
const URL_LIST = /^(nats|tls|ws|wss):\/\/[^\s,]+(,(nats|tls|ws|wss):\/\/[^\s,]+)*$/

const draft = z
  .preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((name) => name.trim()) : value),
    z.array(z.string()).min(1),
  )
  .transform((names) => names.filter((name) => name !== 'off'))
  .refine((names) => names.every((name) => name === 'auto' || DRAFT_SOURCES.includes(name)))

export const configSchema = z.object({
  model: text,
  weights: z.enum(WEIGHT_FORMATS),
  device: z.string().regex(DEVICES),
  attentionDevice: z.string().regex(DEVICES).optional(),
  expertDevice: z.string().regex(DEVICES).optional(),
  threads: whole(1, 1024),
  routers: size('routers'),
  attention: size('attention'),
  experts: size('experts'),
  replicas: size('replicas'),
  drafters: size('drafters'),
  rebalance: z.enum(['on', 'off']),
  nodeName: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,253}$/)
    .optional(),
  transport: z.enum(['auto', 'local', 'nats']),
  nats: z.string().regex(URL_LIST).optional(),
  natsCreds: text.optional(),
  natsUser: text.optional(),
  natsPassword: text.optional(),
  natsTlsCa: text.optional(),
  natsTlsCert: text.optional(),
  natsTlsKey: text.optional(),
  natsWaitSeconds: whole(0, 3_600),
  linkHost: text,
  linkPort: whole(0, 65_535),
  wireVersion: whole(KNOWN_VERSIONS.lowest, KNOWN_VERSIONS.highest),
  cluster: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  host: text,
  http: whole(0, 65_535),
  grpc: whole(0, 65_535),
  apiKey: list.pipe(
    z.array(
      z
        .string()
        .regex(/^[\x21-\x2b\x2d-\x7e]{1,512}$/)
        .refine(isApiKey),
    ),
  ),
  rateLimitRequests: whole(1, 1_000_000).optional(),
  rateLimitTokens: whole(1, 1_000_000_000).optional(),
  tlsCert: text.optional(),
  tlsKey: text.optional(),
  tlsClientCa: text.optional(),
  draft,
  draftModel: text.optional(),
  draftNoise: z.enum(['shared', 'off']),
  draftSharing: z.enum(['key', 'all', 'off']),
  draftAhead: z.enum(['auto', 'on', 'off']),
  draftPrice: ratio.optional(),
  acceptance: z.enum(['exact', 'typical']),
  maxTreeNodes: whole(1, 256),
  kvTokens: whole(32, 1_000_000_000),
  kvFormat: z.enum(KV_FORMATS),
  tokenBudget: whole(1, 1_000_000),
  prefillChunk: whole(1, 1_000_000),
  stepTargetMs: whole(1, 600_000).optional(),
  costModelFile: text.optional(),
  prefixCache: z.enum(['on', 'off']),
  microBatches: whole(1, 2),
  hedge: z.enum(['on', 'off']),
  machineCode: z.enum(['on', 'off']),
  weightCache: text.optional(),
  maxRunning: whole(1, 4096),
  maxWaiting: whole(1, 1_000_000),
  metricsHost: text,
  metricsPort: z.union([z.literal('off'), whole(0, 65_535)]).optional(),
  traceDir: text.optional(),
  traceContent: z.enum(['ids', 'text', 'hash']).optional(),
  traceSlowMs: whole(1, 3_600_000).optional(),
  traceExperts: z.enum(['on', 'off']),
  journal: text,
  journalReplicas: whole(1, 5).optional(),
  drainSeconds: whole(1, 86_400),
  readyFile: text.optional(),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  otelEndpoint: z
    .string()
    .regex(/^https?:\/\/\S+$/)
    .optional(),
  otelServiceName: text,
  otelSampler: z.enum([
    'always_on',
    'always_off',
    'traceidratio',
    'parentbased_always_on',
    'parentbased_always_off',
    'parentbased_traceidratio',
  ]),
  otelSamplerArg: ratio,
})

export type ClusterConfig = Readonly<z.infer<typeof configSchema>>
export type SettingName = keyof ClusterConfig
