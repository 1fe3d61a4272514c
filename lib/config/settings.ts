// What each setting is called, wants and does: help, flags and environment variables are read from this table.

import { BUS_SETTINGS } from './bus-settings.js'
import { count, DOOR_SETTINGS } from './door-settings.js'
import { DRAFT_SOURCES, type SettingName } from './schema.js'
import { TRACE_SETTINGS } from './trace-settings.js'

export interface Setting {
  readonly wants: string // completes "want …"
  readonly help: string
  readonly value?: string // of the flag, in the help; absent: no flag
  readonly env: string
  readonly isSecret?: boolean
  readonly isRepeatable?: boolean
  readonly isSwitch?: boolean // the flag alone means on
}

/** Form and help of every setting; a setting without an entry does not compile. */
export const SETTINGS: Readonly<Record<SettingName, Setting>> = {
  model: {
    wants: 'the path of a model folder or GGUF file',
    help: 'model folder or GGUF file (default: the bundled models/demo)',
    value: 'PATH',
    env: 'BANYAN_MODEL',
  },
  weights: {
    wants: 'f32, f16, int8, int4, int8-auto or int4-auto',
    help: 'weight format: f32, f16, int8, int4, or with blocks sized per matrix int8-auto, int4-auto',
    value: 'FORMAT',
    env: 'BANYAN_WEIGHTS',
  },
  device: {
    wants: 'auto, cpu, webgpu, cuda or cuda:n',
    help: 'where to compute: cpu, webgpu, cuda, cuda:n, or auto: webgpu where a GPU is found, else cpu',
    value: 'DEVICE',
    env: 'BANYAN_DEVICE',
  },
  attentionDevice: {
    wants: 'auto, cpu, webgpu, cuda or cuda:n',
    help: 'where attention workers compute (default: --device)',
    value: 'DEVICE',
    env: 'BANYAN_ATTENTION_DEVICE',
  },
  expertDevice: {
    wants: 'auto, cpu, webgpu, cuda or cuda:n',
    help: 'where expert workers compute (default: --device)',
    value: 'DEVICE',
    env: 'BANYAN_EXPERT_DEVICE',
  },
  threads: {
    wants: count(1, 1024),
    help: 'compute threads of this machine in all (default: its cores)',
    value: 'N',
    env: 'BANYAN_THREADS',
  },
  routers: { wants: count(1, 64), help: 'router processes', value: 'N', env: 'BANYAN_ROUTERS' },
  attention: { wants: count(1, 64), help: 'attention workers', value: 'N', env: 'BANYAN_ATTENTION' },
  experts: { wants: count(1, 256), help: 'expert workers', value: 'N', env: 'BANYAN_EXPERTS' },
  replicas: { wants: count(1, 16), help: 'expert workers that hold each shard', value: 'N', env: 'BANYAN_REPLICAS' },
  drafters: { wants: count(0, 64), help: 'drafter processes', value: 'N', env: 'BANYAN_DRAFTERS' },
  rebalance: {
    wants: 'on or off',
    help: 'move expert shards, and hold busy ones more than once, so that expert workers have equal work: on (default), off',
    value: 'WHEN',
    env: 'BANYAN_REBALANCE',
  },
  nodeName: {
    wants: 'letters, digits, ., - and _, at most 253',
    help: 'machine that this process runs on: replicas of a shard go to different ones where they can',
    value: 'NAME',
    env: 'NODE_NAME',
  },
  transport: {
    wants: 'auto, local or nats',
    help: 'auto, local (one process) or nats (a process each)',
    value: 'KIND',
    env: 'BANYAN_TRANSPORT',
  },
  ...BUS_SETTINGS,
  cluster: {
    wants: 'letters, digits, - and _, at most 64',
    help: 'name that separates clusters on one NATS server',
    value: 'NAME',
    env: 'BANYAN_CLUSTER',
  },
  ...DOOR_SETTINGS,
  draft: {
    wants: `auto, off or a list of ${DRAFT_SOURCES.join(', ')}`,
    help: 'draft sources: auto, off or a list with commas',
    value: 'LIST',
    env: 'BANYAN_DRAFT',
  },
  draftModel: {
    wants: 'the path of a model folder or GGUF file',
    help: 'model that drafts for this one, with the same tokenizer (source: model)',
    value: 'PATH',
    env: 'BANYAN_DRAFT_MODEL',
  },
  draftNoise: {
    wants: 'shared or off',
    help: 'draft with the noise that the sampler will use at temperature > 0: shared (default), off',
    value: 'WHEN',
    env: 'BANYAN_DRAFT_NOISE',
  },
  draftSharing: {
    wants: 'key, all or off',
    help: 'whose past outputs may be drafted from: those of the same API key (key, default), of all, of nobody (off)',
    value: 'WHOSE',
    env: 'BANYAN_DRAFT_SHARING',
  },
  draftAhead: {
    wants: 'auto, on or off',
    help: 'draft the likely next tree while a step is computed: on, off, auto (default: where there are cores for it)',
    value: 'WHEN',
    env: 'BANYAN_DRAFT_AHEAD',
  },
  draftPrice: {
    wants: 'a number from 0 to 1',
    help: 'draft at every step, nodes of at least that probability (default: what pays by the measured cost)',
    value: 'P',
    env: 'BANYAN_DRAFT_PRICE',
  },
  acceptance: {
    wants: 'exact or typical',
    help: 'exact (default): the tokens of plain decoding; typical: lossy, takes drafts that are likely enough',
    value: 'RULE',
    env: 'BANYAN_ACCEPTANCE',
  },
  maxTreeNodes: {
    wants: count(1, 256),
    help: 'nodes of a drafted tree at most',
    value: 'N',
    env: 'BANYAN_MAX_TREE_NODES',
  },
  kvTokens: {
    wants: count(32, 1_000_000_000),
    help: 'KV capacity of an attention worker, in tokens',
    value: 'N',
    env: 'BANYAN_KV_TOKENS',
  },
  kvFormat: {
    wants: 'f32 or f16',
    help: 'how keys and values are kept: f32, or in half the memory f16 (CPU only); part of the fingerprint',
    value: 'FORMAT',
    env: 'BANYAN_KV_FORMAT',
  },
  tokenBudget: { wants: count(1, 1_000_000), help: 'rows of a step at most', value: 'N', env: 'BANYAN_TOKEN_BUDGET' },
  prefillChunk: {
    wants: count(1, 1_000_000),
    help: 'rows of one prompt in a step at most',
    value: 'N',
    env: 'BANYAN_PREFILL_CHUNK',
  },
  stepTargetMs: {
    wants: count(1, 600_000),
    help: 'time of a step with prefill while others decode, in ms (default: 8 decode steps, at least 50)',
    value: 'N',
    env: 'BANYAN_STEP_TARGET_MS',
  },
  costModelFile: {
    wants: 'the path of a file, or off',
    help: 'keep measured step costs in FILE (up: in the cache folder), or off',
    value: 'FILE',
    env: 'BANYAN_COST_MODEL_FILE',
  },
  prefixCache: {
    wants: 'on or off',
    help: 'keep the KV of ended sequences for requests with the same beginning: on (default), off',
    value: 'WHEN',
    env: 'BANYAN_PREFIX_CACHE',
  },
  microBatches: {
    wants: count(1, 2),
    help: 'parts of a step that take turns between attention and experts: 2 pays where experts have cores of their own',
    value: 'N',
    env: 'BANYAN_MICRO_BATCHES',
  },
  hedge: {
    wants: 'on or off',
    help: 'ask another replica beside an expert worker whose answer is late (on, default), or wait for it (off)',
    value: 'WHEN',
    env: 'BANYAN_HEDGE',
  },
  machineCode: {
    wants: 'on or off',
    help: 'compute with code written for this processor where that can be (on, default), or in WebAssembly alone (off)',
    value: 'WHEN',
    env: 'BANYAN_MACHINE_CODE',
  },
  weightCache: {
    wants: 'the path of a folder, or off',
    help: 'keep packed weights in DIR (up: in the cache folder), or off',
    value: 'DIR',
    env: 'BANYAN_WEIGHT_CACHE',
  },
  maxRunning: {
    wants: count(1, 4096),
    help: 'sequences that run at once on an attention worker',
    value: 'N',
    env: 'BANYAN_MAX_RUNNING',
  },
  maxWaiting: {
    wants: count(1, 1_000_000),
    help: 'sequences that wait at a router at most; more are refused',
    value: 'N',
    env: 'BANYAN_MAX_WAITING',
  },
  metricsHost: {
    wants: 'an address to listen on',
    help: 'address of the port for /metrics, /health and /ready',
    value: 'ADDRESS',
    env: 'BANYAN_METRICS_HOST',
  },
  metricsPort: {
    wants: `${count(0, 65_535)}, or off`,
    help: 'port for /metrics, /health and /ready, 0: any free one (serve: off; up: a free one per process but routers)',
    value: 'PORT',
    env: 'BANYAN_METRICS_PORT',
  },
  ...TRACE_SETTINGS,
  drainSeconds: {
    wants: count(1, 86_400),
    help: 'a process told to leave is gone within N seconds: what does not end by then is handed over',
    value: 'N',
    env: 'BANYAN_DRAIN_SECONDS',
  },
  readyFile: {
    wants: 'the path of a file',
    help: 'write URLs and pid to FILE when the cluster serves',
    value: 'FILE',
    env: 'BANYAN_READY_FILE',
  },
  logLevel: {
    wants: 'trace, debug, info, warn, error, fatal or silent',
    help: 'least level of log lines',
    env: 'LOG_LEVEL',
  },
}

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[] // the keys of a Record are its key type

/** 'kvTokens' → 'kv-tokens'. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
