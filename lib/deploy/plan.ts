// Decides how a model is spread over the nodes that are there: the fastest layout that fits, by search over all of them.
//
// Invariants
//   PL1  Pure: the same model, nodes and wishes give the same plan.
//   PL2  What a plan promises fits: memory of every process and node, KV of every stream, time per token.
//   PL3  What does not fit is refused with its arithmetic and with what would fit, each of which was tried.

import { ClusterError } from '../errors.js'
import type { KvFormat } from '../model/kv-formats.js'
import type { ModelSpec, WeightFormat } from '../model/spec.js'
import { SIZE_BOUNDS } from '../wire/sizes.js'
import { isBetter, isLack, judge, STAGES, type Candidate, type Demand, type Lack, type Model } from './candidate.js'
import { MEMORY, MICRO_BATCHES, ROUTER_MS_PER_TOKEN } from './constants.js'
import { layoutsOf } from './layouts.js'
import { modelMemory } from './memory.js'
import { modelLoad } from './model-load.js'
import type { NodePool, PodRequest } from './node-pool.js'
import { refusal } from './refusal.js'

export interface PlanRequest {
  readonly model: string // its name
  readonly spec: ModelSpec
  readonly weights: WeightFormat
  readonly kvFormat: KvFormat
  readonly device: 'cpu' | 'webgpu' | 'cuda'
  readonly pools: readonly NodePool[]
  readonly streams?: number | undefined
  readonly context: number
  readonly tpotMs: number
  readonly replicas?: number | undefined // undefined: two where they fit
}

export interface Plan extends Candidate {
  readonly request: PlanRequest
  readonly model: Model
  readonly replicas: number
  readonly services: Services
}

/** What runs beside the workers. */
export interface Services {
  readonly routers: number
  readonly routerCpus: number
  readonly drafters: number
  readonly nats: number
}
type ServiceName = 'routers' | 'drafters' | 'nats'

const MEBI = 2 ** 20
const ROUTER_SHARE = 0.5 // of the processors it asks for that a router should be busy
const ROUTER_CPUS = { least: 0.25, most: 1 } // it computes in one thread

/** What each of them asks for. */
export const servicePods = ({ routerCpus }: Services): Readonly<Record<ServiceName, PodRequest>> => ({
  routers: { cpus: routerCpus, memory: MEMORY.overhead.router * 2 + MEMORY.templates },
  drafters: { cpus: 0.25, memory: MEMORY.overhead.drafter * 2 },
  nats: { cpus: 0.1, memory: 256 * MEBI },
})

/** Throws `failed_precondition` where nothing fits (PL3). */
export function makePlan(request: PlanRequest): Plan {
  const outcome = tryPlan(request)
  if (!isLack(outcome)) return outcome
  throw new ClusterError(
    'failed_precondition',
    refusal(request, outcome, (changed) => !isLack(tryPlan(changed))),
    {
      details: { reason: 'DOES_NOT_FIT' },
    },
  )
}

export function tryPlan(request: PlanRequest): Plan | Lack {
  const { spec, weights, kvFormat, device } = request
  const isOnDevice = device !== 'cpu'
  const model = {
    load: modelLoad(spec, weights, kvFormat),
    memory: modelMemory(spec, { weights, kvFormat, isOnDevice }),
  }
  const lacks: Lack[] = []
  for (const redundancy of redundancies(request)) {
    const outcome = withRouters(request, model, redundancy)
    if (!isLack(outcome)) return outcome
    lacks.push(outcome)
  }
  return nearest(lacks)
}

type Redundancy = Pick<Demand, 'replicas' | 'isSpared'>

/** What is tried, the best first: two replicas, and room in every worker for a shard of one that is lost. */
const redundancies = ({ replicas }: PlanRequest): readonly Redundancy[] =>
  (replicas === undefined ? [2, 1] : [replicas]).flatMap((count) => [
    { replicas: count, isSpared: true },
    { replicas: count, isSpared: false },
  ])

/** As many routers as the tokens need; they take room from the workers, so the search runs again where they grew. */
function withRouters(request: PlanRequest, model: Model, redundancy: Redundancy): Plan | Lack {
  const numNodes = numNodesOf(request)
  let services: Services = {
    routers: Math.min(2, numNodes),
    routerCpus: ROUTER_CPUS.least,
    drafters: 1,
    nats: numNodes < 3 ? 1 : 3,
  }
  for (;;) {
    const best = search(request, model, redundancy, services)
    if (isLack(best)) return best
    const grown = grownFor(best.tokensPerSecond, services)
    if (grown.routers === services.routers && grown.routerCpus === services.routerCpus)
      return { ...best, request, model, replicas: redundancy.replicas, services }
    services = grown
  }
}

function grownFor(tokensPerSecond: number, services: Services): Services {
  const wanted = routerLoad(tokensPerSecond) / ROUTER_SHARE
  const routers = Math.max(services.routers, Math.min(SIZE_BOUNDS.routers.max, Math.ceil(wanted / ROUTER_CPUS.most)))
  const cpus = Math.min(ROUTER_CPUS.most, Math.ceil((wanted / routers) * 20) / 20)
  return { ...services, routers, routerCpus: Math.max(services.routerCpus, cpus) }
}

/** Processors that routers keep busy together. */
export const routerLoad = (tokensPerSecond: number): number => (tokensPerSecond * ROUTER_MS_PER_TOKEN) / 1000

const numNodesOf = ({ pools }: PlanRequest): number => pools.reduce((sum, { count }) => sum + count, 0)

function search(request: PlanRequest, model: Model, redundancy: Redundancy, services: Services): Candidate | Lack {
  const { replicas } = redundancy
  const demand: Demand = { ...request, streams: request.streams, ...redundancy }
  const pods = servicePods(services)
  const layouts = layoutsOf({
    pools: request.pools,
    wantsGpu: request.device !== 'cpu',
    weights: request.weights,
    maxExpertWorkers: Math.min(SIZE_BOUNDS.experts.max, model.load.numShards * replicas),
    minExpertNodes: replicas,
    services: (['routers', 'drafters', 'nats'] as const).flatMap((name) =>
      Array.from({ length: services[name] }, () => pods[name]),
    ),
  })
  let best: Candidate | undefined
  let nearestLack: Lack | undefined
  for (const layout of layouts) {
    for (const microBatches of MICRO_BATCHES) {
      const outcome = judge(model, layout, demand, microBatches)
      if (isLack(outcome)) nearestLack = nearest([nearestLack ?? outcome, outcome])
      else if (best === undefined || isBetter(outcome, best)) best = outcome
    }
  }
  return best ?? nearestLack ?? { stage: 'nodes', needs: replicas, has: numNodesOf(request) }
}

/** The one that came furthest, of those the one that lacks the least. */
const nearest = (lacks: readonly Lack[]): Lack =>
  lacks.reduce((best, lack) => {
    const further = STAGES.indexOf(lack.stage) - STAGES.indexOf(best.stage)
    return further > 0 || (further === 0 && lack.needs / lack.has < best.needs / best.has) ? lack : best
  })
