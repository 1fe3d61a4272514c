// What the cost model and the memory estimate stand on: each figure with where it was measured. Machine of all of them:
// bench/RESULTS.md (two cores of a Sapphire Rapids, processes over NATS with direct links). What was not measured says so.

import type { WeightFormat } from '../model/spec.js'

const MILLION = 1e6
const MEBI = 2 ** 20

export const CPU = {
  /** One core's memory reads (`bench:raw`, compare, one thread: 16.1 GB/s). */
  readBytesPerMsPerCore: 16 * MILLION,
  /** Share of them that one-row products reach (`bench:raw`, expert layer at one row: 0.78 int8, 0.72 int4). */
  readShare: 0.75,
  /** One core's products at 64 rows (`bench:raw`: f32 4096 → 16384, int8 and int4 in an expert layer), operations a ms. */
  operationsPerMsPerCore: {
    f32: 127 * MILLION,
    f16: 127 * MILLION, // taken as f32's, whose operations they are: a weight is widened once for several rows
    int8: 171 * MILLION,
    int4: 176 * MILLION,
    'int8-auto': 171 * MILLION, // larger blocks, the same operations
    'int4-auto': 176 * MILLION,
  } satisfies Readonly<Record<WeightFormat, number>>,
  /** What a 32-bit linear memory holds (docs/decisions/0007): weights, KV and operands of a process. */
  processBytes: 2 ** 32,
} as const

/** Nothing here was measured: no GPU was at hand. */
export const GPU = {
  readShare: 0.6,
  callMs: 0.3, // upload, kernels' launch, download of a layer call
  usableShare: 0.9, // of its memory
} as const

export const STEP = {
  /** Head and sampling 0.33 ms, and 0.5 ms between one step and the next (docs/performance.md, Speculation). */
  fixedMs: 0.8,
  /** A row in the router (0.156 ms of its processor, `bench:hop`, demo, 16 streams) and in sampling (0.035 ms). */
  rowMs: 0.19,
  /** Attention of a layer beside its products (docs/performance.md: 0.27 ms for 4 layers at one row). */
  layerMs: 0.07,
  /** Each more row of it (0.51 ms at 9 to 16 rows). */
  layerRowMs: 0.005,
} as const

export const HOP = {
  /** h0: dispatch, both event loops and the gather of a layer (docs/performance.md: 0.9 + 1.7 ms for 4 layers, less compute). */
  fixedMs: 0.6,
  /** How much of it keeps the attention worker busy, and how much each expert worker (`bench:hop`, processor time at one stream). */
  attentionBusyMs: 0.3,
  expertBusyMs: 0.3,
  /** Software's time for a byte to or from experts (0.4 GB checkpoint: 1.5 ms a layer at 16 rows, 297 kB). */
  msPerByte: 3e-6,
  /** Between two machines of a rack, there and back; not measured here. */
  roundTripMs: 0.1,
} as const

export const MEMORY = {
  /** Resident memory over the bytes that are computed to lie in it: weights, KV and operands. */
  residentFactor: 1.15,
  /**
   * A process without weights, with one compute thread (docs/measurements.md: workers of the demonstration model 182 to 192
   * MB; drafts and finished requests grow to a bound). With these, workers of the 0.4 GB checkpoint are put at 377 MB
   * (experts, half of them) and 430 MB (attention); 283 to 304 and 380 MB were measured.
   */
  overhead: { router: 256 * MEBI, attention: 160 * MEBI, 'expert-worker': 160 * MEBI, drafter: 256 * MEBI },
  /** A router's process that renders chat templates, at its most (docs/tokenizers.md). */
  templates: 128 * MEBI,
  /** A compute thread with its stack and code (measured: 56 MiB with one, 156 with 16). */
  thread: 8 * MEBI,
  /** A limit above the request, at least so much: file pages and float32 copies of weights on their way in. */
  limitFactor: 1.25,
  limitLeast: 256 * MEBI,
  /** Host memory of a GPU worker: its largest layer's weights pass through. */
  gpuStaging: 1024 * MEBI,
} as const

/** Processor time of a router (`bench:hop`: 0.156 ms a token on the demonstration model, 0.273 on the 0.4 GB one). */
export const ROUTER_MS_PER_TOKEN = 0.27

/** A step's rows at most (`--token-budget`), and what `--micro-batches` can be. */
export const TOKEN_BUDGET = 512
export const MICRO_BATCHES = [1, 2] as const
