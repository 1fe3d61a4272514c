// How long a decode step takes on a cluster that does not exist yet: the cost model of attention and experts apart.
//
// Invariants
//   ST1  Pure, and monotone: more bandwidth or faster processors never make a step slower, more streams or a longer context
//        never faster. (More expert workers may: rows then go to more of them. The plan is free to take fewer.)
//   ST2  The parts add up to the step: attention + experts + network + fixed + waiting = total.
//
// Per layer, n rows in a call, W expert workers, E experts of which a row takes K:
//   T_a(n) = a0 + a1 n + max(weights / bandwidth, products / speed) + KV / bandwidth
//   T_e(n) = max(D_w(n) expert bytes / bandwidth, products / speed)          D(n) = E (1 - (1 - K/E)^n)
//   T_c(n) = max(out, back) / network + (out + back) software
//   step   = L max(m (T_a + T_c + h_a), A m (T_e + h_e), h0 + T_a + T_c + T_e) + (m - 1) T_max + head + fixed
// with A attention workers, m micro-batches each, n = streams / (A m). T_a and T_c share an event loop, so they add up;
// h_a and h_e are what of the hop h0 keeps an attention and an expert worker busy.

import { HOP, STEP } from './constants.js'
import type { LayerLoad, ModelLoad, Weights } from './model-load.js'

/** What computes a role: its share of a node, or a GPU. */
export interface Processor {
  readonly bytesPerMs: number // of weights and KV
  readonly operationsPerMs: number
  readonly callMs: number // fixed, per layer call
}

export interface Setup {
  readonly load: ModelLoad
  readonly attention: Processor
  readonly experts: Processor
  readonly numAttention: number
  readonly numExpertWorkers: number
  readonly microBatches: number
  readonly networkBytesPerMs: number // of a node, each direction; Infinity on one node
  readonly roundTripMs: number
  readonly context: number // tokens whose KV a row reads
}

/** A layer call of n rows, in ms. */
export interface Stages {
  readonly attention: number
  readonly experts: number
  readonly network: number
  readonly hop: number
}

export interface StepTime {
  readonly totalMs: number
  readonly attentionMs: number // with the head
  readonly expertMs: number
  readonly networkMs: number
  readonly fixedMs: number
  readonly waitingMs: number // for a stage that is busy with others
  readonly rowsPerCall: number
  readonly limitedBy: 'attention' | 'experts' | 'network' | 'fixed costs'
}

export const distinctExperts = (numExperts: number, topK: number, rows: number): number =>
  numExperts === 0 ? 0 : numExperts * (1 - (1 - topK / numExperts) ** rows)

/** Shards that a row's experts lie in, on average: topK of them drawn without repetition. */
export function distinctShards({ numExperts, topK }: LayerLoad, numShards: number): number {
  if (numExperts === 0) return 1
  const perShard = numExperts / numShards
  let missesAll = 1
  for (let i = 0; i < topK; i++) missesAll *= Math.max(0, (numExperts - perShard - i) / (numExperts - i))
  return numShards * (1 - missesAll)
}

/** The share of a call's shards that its busiest worker serves: shards are whole. */
export const busiestShare = (numShards: number, numWorkers: number): number =>
  Math.ceil(numShards / Math.min(numShards, numWorkers)) / numShards

/** Of `total` things that fall on workers at random, those of the busiest one. */
export function busiestOf(total: number, share: number): number {
  const mean = total * share
  const spread = Math.sqrt(2 * mean * (1 - share) * Math.log(Math.max(1, 1 / share)))
  return Math.min(total, mean + spread)
}

const computeMs = ({ bytesPerMs, operationsPerMs }: Processor, { bytes, values }: Weights, rows: number): number =>
  Math.max(bytes / bytesPerMs, (2 * values * rows) / operationsPerMs)

export function stagesOf(layer: LayerLoad, setup: Setup, rows: number): Stages {
  const { load, attention, experts, numExpertWorkers } = setup
  const kvBytes = (rows * setup.context * load.kvBytesPerToken) / load.numLayers
  const shards = distinctShards(layer, load.numShards)
  const workers = Math.min(numExpertWorkers, load.numShards)
  const out = rows * load.rowBytes * workers * (1 - (1 - 1 / workers) ** shards)
  const back = rows * load.sumBytes * shards
  return {
    attention:
      attention.callMs +
      STEP.layerMs +
      rows * STEP.layerRowMs +
      computeMs(attention, layer.attention, rows) +
      kvBytes / attention.bytesPerMs,
    experts: experts.callMs + computeMs(experts, busiestWeights(layer, setup, rows), 1),
    network: Math.max(out, back) / setup.networkBytesPerMs + (out + back) * HOP.msPerByte,
    hop: HOP.fixedMs + setup.roundTripMs,
  }
}

/** What the busiest worker reads and multiplies in a call; the expert of every row lies on one of them. */
function busiestWeights(layer: LayerLoad, { load, numExpertWorkers }: Setup, rows: number): Weights {
  const { numExperts, topK, expert, always } = layer
  const share = busiestShare(load.numShards, numExpertWorkers)
  const touched = busiestOf(distinctExperts(numExperts, topK, rows), share)
  const pairs = busiestOf(rows * topK, share)
  return { bytes: touched * expert.bytes + always.bytes, values: pairs * expert.values + rows * always.values }
}

/** The time of a step in which every one of so many streams gets a token. */
export function stepTime(setup: Setup, streams: number): StepTime {
  const { load, numAttention, microBatches } = setup
  const rowsPerWorker = Math.ceil(streams / numAttention)
  const parts = Math.min(microBatches, rowsPerWorker)
  const rows = Math.ceil(rowsPerWorker / parts)
  const sum = { attention: 0, experts: 0, network: 0, hop: 0, total: 0, slowest: 0 }
  const busy = { attention: 0, experts: 0 }
  for (const layer of load.layers) {
    const stages = stagesOf(layer, setup, rows)
    const inTurn = stages.hop + stages.attention + stages.network + stages.experts
    const ofAttention = parts * (stages.attention + stages.network + HOP.attentionBusyMs)
    const ofExperts = numAttention * parts * (stages.experts + HOP.expertBusyMs) * callsShare(setup)
    sum.total += layer.count * Math.max(inTurn, ofAttention, ofExperts)
    busy.attention += layer.count * ofAttention
    busy.experts += layer.count * ofExperts
    for (const name of ['attention', 'experts', 'network', 'hop'] as const) sum[name] += layer.count * stages[name]
    sum.slowest = Math.max(sum.slowest, stages.attention, stages.experts, stages.network)
  }
  const fill = (parts - 1) * sum.slowest
  const headMs = parts * computeMs(setup.attention, load.head, rows)
  const fixedMs = STEP.fixedMs + rowsPerWorker * STEP.rowMs
  const inTurn = sum.attention + sum.experts + sum.network + sum.hop
  const time = {
    attentionMs: sum.attention + headMs,
    expertMs: sum.experts,
    networkMs: sum.network + sum.hop,
    fixedMs,
    waitingMs: withoutDust(sum.total - inTurn + fill),
  }
  const totalMs = sum.total + fill + headMs + fixedMs
  return { ...time, totalMs, rowsPerCall: rows, limitedBy: limitOf(time, busy, sum.total) }
}

/** Differences of rounding are no wait. */
const withoutDust = (ms: number): number => (Math.abs(ms) < 1e-9 ? 0 : ms)

/** With more workers than shards, a call keeps only some of them busy. */
const callsShare = ({ load, numExpertWorkers }: Setup): number => Math.min(1, load.numShards / numExpertWorkers)

function limitOf(
  time: Omit<StepTime, 'totalMs' | 'rowsPerCall' | 'limitedBy'>,
  busy: { readonly attention: number; readonly experts: number },
  layersMs: number,
): StepTime['limitedBy'] {
  const isFull = (ms: number): boolean => time.waitingMs > 0 && ms > 0.999 * layersMs
  if (isFull(busy.experts)) return 'experts'
  if (isFull(busy.attention)) return time.attentionMs >= time.networkMs ? 'attention' : 'network'
  const { attentionMs, expertMs, networkMs, fixedMs } = time
  const parts = { attention: attentionMs, experts: expertMs, network: networkMs, 'fixed costs': fixedMs } as const
  const largest = Math.max(attentionMs, expertMs, networkMs, fixedMs)
  if (parts.experts === largest) return 'experts'
  if (parts.attention === largest) return 'attention'
  return parts.network === largest ? 'network' : 'fixed costs'
}

export interface Balance {
  readonly attentionMsPerRow: number // k1: of T_a = k1 b + k2
  readonly expertMsPerPair: number // k3: of T_e = k3 b + k4, b (row, expert) pairs on a worker
  readonly topK: number
  readonly numAttention: number // k1 W / (k3 K); Infinity where experts take no longer for more rows
}

/** MegaScale-Infer's balance n_a = k1 E / (k3 K), for W workers that hold the E experts: slopes between one row and n. */
export function balanceOf(setup: Setup, streams: number): Balance {
  const rows = Math.max(2, Math.ceil(streams / setup.numAttention) / setup.microBatches)
  const topK = Math.max(...setup.load.layers.map((layer) => layer.topK + (layer.always.values > 0 ? 1 : 0)))
  const slopes = { attention: 0, experts: 0 }
  for (const layer of setup.load.layers) {
    const [one, many] = [stagesOf(layer, setup, 1), stagesOf(layer, setup, rows)]
    const weight = layer.count / setup.load.numLayers / (rows - 1)
    slopes.attention += weight * (many.attention - one.attention)
    slopes.experts += weight * (many.experts - one.experts)
  }
  const expertMsPerPair = (slopes.experts * setup.numExpertWorkers) / topK
  return {
    attentionMsPerRow: slopes.attention,
    expertMsPerPair,
    topK,
    numAttention: (slopes.attention * setup.numExpertWorkers) / (expertMsPerPair * topK),
  }
}
