// Says why nothing fits, with the arithmetic, and what would: more nodes, narrower weights, less asked for. Every offer was
// tried before it is made.

import type { WeightFormat } from '../model/spec.js'
import type { Lack } from './candidate.js'
import type { PlanRequest } from './plan.js'
import { showBytes, showMs, showNumber } from './units.js'

/** Formats that take fewer bytes, the next one first. */
const NARROWER: Readonly<Record<WeightFormat, readonly WeightFormat[]>> = {
  f32: ['f16', 'int8', 'int4'],
  f16: ['int8', 'int4'],
  int8: ['int4'],
  int4: [],
  'int8-auto': ['int4-auto', 'int4'],
  'int4-auto': ['int4'],
}
const MOST_NODES = 512

export function refusal(request: PlanRequest, lack: Lack, fits: (changed: PlanRequest) => boolean): string {
  const offers = [...moreNodes(request, fits), ...narrower(request, fits), ...fewer(request, lack, fits)]
  return `${reason(request, lack)}: ${offers.length === 0 ? 'no number of such nodes would do' : `want ${offers.join(' or ')}`}`
}

function reason({ weights, context, tpotMs, streams, pools }: PlanRequest, lack: Lack): string {
  if (lack.stage === 'nodes') {
    const nodes = pools.map(({ count, cpus }) => `${count} with ${showNumber(cpus)} processors`).join(' and ')
    return `found nodes: ${nodes}; replicas of a shard are on different nodes (${lack.needs}), and a worker needs a tenth of a processor beside the system, routers, drafters and NATS`
  }
  const { layout, shardsPerWorker, needs, has } = lack
  const { attention, experts } = layout
  const shards = `${shardsPerWorker} ${shardsPerWorker === 1 ? 'shard' : 'shards'} of experts in ${weights}`
  switch (lack.stage) {
    case 'process':
      return `${shards} take ${showBytes(needs)} with their operands in each of ${experts.workers} workers, ${
        experts.isGpu ? 'a GPU' : 'a process'
      } holds ${showBytes(has)}`
    case 'experts':
      return `experts need ${showBytes(needs * experts.perNode)} on each of ${experts.nodes} nodes (${shards} a worker), a node has ${showBytes(has * experts.perNode)} of its ${showBytes(experts.pool.memory)} for them`
    case 'attention':
      return `an attention worker with one stream of ${context} tokens needs ${showBytes(needs)}, ${
        attention.isGpu ? 'a GPU' : 'it'
      } has ${showBytes(Math.max(0, has))}`
    case 'kv':
      return `${needs} streams of ${context} tokens want more KV than ${attention.workers} attention workers hold: they have room for ${has}`
    case 'time':
      return `${streams ?? 1} ${(streams ?? 1) === 1 ? 'stream' : 'streams'} of ${context} tokens take ${showMs(needs)} a token on these nodes, ${showMs(tpotMs)} are asked for`
  }
}

/** The fewest nodes of a pool that would do. */
function moreNodes(request: PlanRequest, fits: (changed: PlanRequest) => boolean): string[] {
  return request.pools.flatMap((pool, place) => {
    const withCount = (count: number): PlanRequest => ({
      ...request,
      pools: request.pools.with(place, { ...pool, count }),
    })
    if (!fits(withCount(MOST_NODES))) return []
    let [low, high] = [pool.count + 1, MOST_NODES]
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (fits(withCount(middle))) high = middle
      else low = middle + 1
    }
    return [`${low} nodes${request.pools.length > 1 ? ` of pool ${pool.name}` : ''}`]
  })
}

const narrower = (request: PlanRequest, fits: (changed: PlanRequest) => boolean): string[] =>
  NARROWER[request.weights]
    .filter((weights) => fits({ ...request, weights }))
    .map((weights) => `--weights ${weights}`)
    .slice(0, 1)

function fewer(request: PlanRequest, { stage, needs, has }: Lack, fits: (changed: PlanRequest) => boolean): string[] {
  const tries: readonly (readonly [string, PlanRequest])[] = [
    ...(stage === 'time' ? [tryOf('tpot-ms', Math.ceil(needs), { ...request, tpotMs: Math.ceil(needs) })] : []),
    ...(['kv', 'attention'].includes(stage) && request.device === 'cpu' && request.kvFormat === 'f32'
      ? [['--kv-format f16', { ...request, kvFormat: 'f16' }] as const]
      : []),
    ...(stage === 'kv' && has > 0 ? [tryOf('streams', has, { ...request, streams: has })] : []),
    ...((request.replicas ?? 1) > 1 ? [tryOf('replicas', 1, { ...request, replicas: 1 })] : []),
  ]
  return tries.filter(([, changed]) => fits(changed)).map(([offer]) => offer)
}

const tryOf = (flag: string, value: number, changed: PlanRequest): readonly [string, PlanRequest] => [
  `--${flag} ${value}`,
  changed,
]
