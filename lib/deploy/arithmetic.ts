// The plan's figures, each with the arithmetic that made it: what is printed, and what PLAN.md holds.

import { CPU, GPU, HOP, MEMORY, ROUTER_MS_PER_TOKEN, STEP } from './constants.js'
import type { Seat } from './layouts.js'
import { rebalances, SPARE_SHARDS } from './candidate.js'
import { processBytes, streamTokens } from './memory.js'
import { routerLoad, type Plan } from './plan.js'
import { balanceOf, busiestOf, busiestShare, distinctExperts, distinctShards, stagesOf } from './step-time.js'
import { showBytes, showMs, showNumber, showRate } from './units.js'

export interface Figure {
  readonly name: string
  readonly value: string
  readonly arithmetic: string
}

export const figuresOf = (plan: Plan): readonly Figure[] => [
  ...expertFigures(plan),
  ...attentionFigures(plan),
  ...stepFigures(plan),
  ...timeFigures(plan),
  ...serviceFigures(plan),
]

const figure = (name: string, value: string, arithmetic: string): Figure => ({ name, value, arithmetic })
const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`

function expertFigures(plan: Plan): readonly Figure[] {
  const { layout, model, replicas, shardsPerWorker, spareShards, expertHeld, expertResident } = plan
  const { experts } = layout
  const { numShards } = model.load
  const { shardBytes, expertOperands } = model.memory
  return [
    figure(
      'expert shards',
      String(numShards),
      `the checkpoint's cut: at most 8, the largest ${showBytes(shardBytes)} in ${model.load.weights}`,
    ),
    figure(
      'expert workers',
      String(experts.workers),
      `${plural(experts.nodes, 'node')} × ${experts.perNode}; at most shards × replicas = ${numShards} × ${replicas} = ${numShards * replicas}`,
    ),
    figure(
      'shards of a worker',
      String(shardsPerWorker),
      `⌈shards × replicas / workers⌉ = ⌈${numShards} × ${replicas} / ${experts.workers}⌉`,
    ),
    figure('shards to spare', String(spareShards), spareText(plan)),
    figure(
      'expert worker computes in',
      showBytes(expertHeld),
      heldBytes(`(${shardsPerWorker} + ${spareShards}) × ${showBytes(shardBytes)}`, expertOperands, experts),
    ),
    figure(
      'expert worker asks for',
      showBytes(expertResident),
      residentArithmetic('expert-worker', expertHeld, experts, plan),
    ),
  ]
}

function spareText({ model, shardsPerWorker, spareShards }: Plan): string {
  const others = model.load.numShards - shardsPerWorker
  if (others === 0) return 'every worker holds all'
  const room = `room for so many more; ${Math.min(others, SPARE_SHARDS)} are wanted`
  if (!rebalances(shardsPerWorker, spareShards, model.load.numShards))
    return `${room}, for one of a lost worker and one on its way: rebalancing is off`
  return `${room}, for a busy shard and one on its way`
}

const heldBytes = (weights: string, operands: number, { isGpu, room }: Seat): string =>
  `${weights} + operands ${showBytes(operands)}; ${isGpu ? `${GPU.usableShare} of a GPU` : 'a process'} holds ${showBytes(room.device)}`

function residentArithmetic(role: 'attention' | 'expert-worker', held: number, seat: Seat, { model }: Plan): string {
  const process = showBytes(processBytes(role, seat.room))
  if (seat.isGpu)
    return `process ${process} + staging ${showBytes(MEMORY.gpuStaging)} + a layer ${showBytes(model.memory.largestLayer)}; weights and KV lie on the GPU`
  return `process ${process} + ${MEMORY.residentFactor} × ${showBytes(held)}`
}

function attentionFigures(plan: Plan): readonly Figure[] {
  const { layout, model, setup, streams, streamsPerWorker, kvTokens, attentionHeld, attentionResident } = plan
  const { attention } = layout
  const { memory } = model
  const { context } = plan.request
  const balance = balanceOf(setup, streams)
  return [
    figure(
      'attention workers',
      String(attention.workers),
      `${plural(attention.nodes, 'node')} × ${attention.perNode}, the fastest of all that fit; balance k1 W / (k3 K) = ${showMs(balance.attentionMsPerRow)} × ${setup.numExpertWorkers} / (${showMs(balance.expertMsPerPair)} × ${balance.topK}) = ${showNumber(balance.numAttention)}`,
    ),
    figure('streams of a worker', String(streamsPerWorker), `⌈${streams} / ${attention.workers}⌉`),
    figure(
      'KV of a worker',
      `${kvTokens} tokens`,
      `of ${showBytes(memory.sizes.kvPerToken)} each = ${showBytes(kvTokens * memory.sizes.kvPerToken)}; its streams need ${streamsPerWorker} × ${streamTokens(context)} = ${streamsPerWorker * streamTokens(context)}, up to as many more keep prefixes`,
    ),
    figure(
      'attention worker computes in',
      showBytes(attentionHeld),
      `weights ${showBytes(memory.attentionWeights)} + KV ${showBytes(kvTokens * memory.sizes.kvPerToken)} + operands ${showBytes(memory.attentionOperands + streamsPerWorker * memory.streamOperands)}; ${attention.isGpu ? `${GPU.usableShare} of a GPU` : 'a process'} holds ${showBytes(attention.room.device)}`,
    ),
    figure(
      'attention worker asks for',
      showBytes(attentionResident),
      residentArithmetic('attention', attentionHeld, attention, plan),
    ),
  ]
}

/** One layer call, of the kind that most layers are. */
function stepFigures(plan: Plan): readonly Figure[] {
  const { setup, time, model } = plan
  const { load } = model
  const layer = load.layers.reduce((most, kind) => (kind.count > most.count ? kind : most))
  const rows = time.rowsPerCall
  const stages = stagesOf(layer, setup, rows)
  const share = busiestShare(load.numShards, setup.numExpertWorkers)
  const distinct = distinctExperts(layer.numExperts, layer.topK, rows)
  const touched = busiestOf(distinct, share)
  const bandwidth = (perMs: number): string => showRate(perMs * 1000)
  const kvBytes = (rows * setup.context * load.kvBytesPerToken) / load.numLayers
  const shards = distinctShards(layer, load.numShards)
  return [
    figure(
      'rows of a call',
      String(rows),
      `⌈${plan.streamsPerWorker} streams / ${plan.microBatches} micro-${plan.microBatches === 1 ? 'batch' : 'batches'}⌉`,
    ),
    figure(
      'T_a, a layer',
      showMs(stages.attention),
      `${showNumber(setup.attention.callMs + STEP.layerMs)} + ${rows} × ${STEP.layerRowMs} + max(${showBytes(layer.attention.bytes)} / ${bandwidth(setup.attention.bytesPerMs)}, ${rows} × ${showNumber((2 * layer.attention.values) / 1e6)} Mop / ${showNumber(setup.attention.operationsPerMs / 1e6)} Gop/s) + KV ${showBytes(kvBytes)} / ${bandwidth(setup.attention.bytesPerMs)}`,
    ),
    figure(
      'distinct experts, a layer',
      showNumber(distinct),
      layer.numExperts === 0
        ? 'a dense layer'
        : `E (1 − (1 − K/E)^n) = ${layer.numExperts} (1 − (1 − ${layer.topK}/${layer.numExperts})^${rows})`,
    ),
    figure(
      'of them on the busiest',
      showNumber(touched),
      `it serves ${showNumber(share * load.numShards)} of ${load.numShards} shards: mean ${showNumber(distinct * share)} and what chance adds, √(2 mean (1 − s) ln 1/s)`,
    ),
    figure(
      'T_e, a layer',
      showMs(stages.experts),
      `max(${showBytes(touched * layer.expert.bytes + layer.always.bytes)} / ${bandwidth(setup.experts.bytesPerMs)}, products)${setup.experts.callMs > 0 ? ` + ${showMs(setup.experts.callMs)} of the device` : ''}`,
    ),
    figure(
      'T_c, a layer',
      showMs(stages.network),
      `${rows} rows out of ${showBytes(load.rowBytes)} a worker touched, sums of ${showBytes(load.sumBytes)} back from ${showNumber(shards)} shards each, at ${HOP.msPerByte * 1e6} ns a byte${Number.isFinite(setup.networkBytesPerMs) ? ` and ${bandwidth(setup.networkBytesPerMs)}` : ''}`,
    ),
    figure(
      'h0, a layer',
      showMs(stages.hop),
      `dispatch and gather ${showMs(HOP.fixedMs)} + round trip ${showMs(setup.roundTripMs)}`,
    ),
  ]
}

function timeFigures(plan: Plan): readonly Figure[] {
  const { time, streams, model, setup, microBatches: m, tokensPerSecond, roomForStreams, request } = plan
  const { numLayers } = model.load
  const parts = `${showMs(time.attentionMs)} attention and head + ${showMs(time.expertMs)} experts + ${showMs(time.networkMs)} network + ${showMs(time.fixedMs)} fixed + ${showMs(time.waitingMs)} waiting`
  const head = `head ${showBytes(model.load.head.bytes)} / ${showRate(setup.attention.bytesPerMs * 1000)}`
  return [
    figure(
      'time per token',
      showMs(time.totalMs),
      `${numLayers} layers × max(${m} (T_a + T_c + ${HOP.attentionBusyMs}), ${setup.numAttention} × ${m} (T_e + ${HOP.expertBusyMs}), h0 + T_a + T_c + T_e) + ${head} + ${STEP.fixedMs} + ${plan.streamsPerWorker} × ${STEP.rowMs} = ${parts}`,
    ),
    figure(
      'batch',
      plural(streams, 'stream'),
      request.streams === undefined
        ? `the most at ${showMs(request.tpotMs)} a token; the KV has room for ${roomForStreams}`
        : `as asked for; the KV has room for ${roomForStreams}, the limit is ${showMs(request.tpotMs)} a token`,
    ),
    figure(
      'tokens a second',
      showNumber(Math.round(tokensPerSecond)),
      `${streams} / ${showMs(time.totalMs)}, without drafts and prefill`,
    ),
    figure('limited by', time.limitedBy, 'the largest part, or who is busy all the time'),
  ]
}

function serviceFigures({ services, tokensPerSecond, request }: Plan): readonly Figure[] {
  const nodes = request.pools.reduce((sum, { count }) => sum + count, 0)
  return [
    figure(
      'routers',
      String(services.routers),
      `${Math.round(tokensPerSecond)} tokens/s × ${ROUTER_MS_PER_TOKEN} ms = ${showNumber(routerLoad(tokensPerSecond))} processors busy, at most half of what they ask for${nodes > 1 ? '; two at least' : ''}`,
    ),
    figure('drafters', String(services.drafters), 'one; answers are the same without'),
    figure(
      'NATS servers',
      String(services.nats),
      nodes < 3 ? 'fewer than three nodes' : 'one a node, three at least to agree',
    ),
  ]
}

/** What the plan takes for granted, in sentences. */
export function assumptionsOf({ layout, setup, request }: Plan): readonly string[] {
  const isCpu = !layout.attention.isGpu || !layout.experts.isGpu
  return [
    ...(isCpu
      ? [
          `a processor reads ${showRate(CPU.readBytesPerMsPerCore * 1000)} up to what its node can, products reach ${CPU.readShare} of it; measured with one and two threads, taken as linear beyond`,
        ]
      : []),
    ...(layout.attention.isGpu || layout.experts.isGpu
      ? [
          `a GPU reads weights at ${GPU.readShare} of its bandwidth and takes ${showMs(GPU.callMs)} a layer call: not measured, there was none`,
        ]
      : []),
    `the network between nodes takes ${showMs(setup.roundTripMs)} there and back`,
    `experts are chosen evenly; every stream reads a context of ${request.context} tokens; no drafts, no prefill beside decoding`,
    'constants are those of bench/RESULTS.md and docs/performance.md, of two processors that all processes shared',
  ]
}
