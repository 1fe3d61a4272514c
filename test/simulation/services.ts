// What simulated processes run: the real services, as a cluster of some shape has them.

import type { RouterOptions, ServiceDeps } from '../../lib/config/service.js'
import { openCheckpoint } from '../../lib/model/checkpoint.js'
import { startAttention } from '../../services/attention/start.js'
import { startDrafter } from '../../services/drafter/start.js'
import { startExpertWorker } from '../../services/expert-worker/start.js'
import { startRouterCore, type RouterCore } from '../../services/router/start.js'

export const ROLES = ['router', 'expert-worker', 'attention', 'drafter'] as const
export type SimulatedRole = (typeof ROLES)[number]

/** `nats`: every service is a process of its own, on a bus; `local`: all are one process, which keeps its journal in a file. */
export const FORMS = ['nats', 'local'] as const
export type Form = (typeof FORMS)[number]

export interface Shape {
  readonly form: Form
  readonly model: string
  readonly weightCache: string // folder
  readonly counts: Readonly<Record<SimulatedRole, number>>
  readonly replicas: number
  readonly draft: boolean
  readonly kvTokens: number
  readonly microBatches: number
  readonly prefixCache: boolean
  readonly prefillChunk: number
  readonly tokenBudget: number
  readonly maxRunning: number
  readonly mixesBuilds: boolean // every second life is of the build that knows version 1 of the frame alone
}

export interface StartedService {
  readonly router?: RouterCore
  drain(): Promise<void>
  stop(): Promise<void>
}

/** The real service of that role. */
export async function startService(role: SimulatedRole, deps: ServiceDeps, shape: Shape): Promise<StartedService> {
  if (role === 'router') return startRouter(deps, shape)
  const compute = { model: modelOf(shape), device: 'cpu', threads: 1, machineCode: true } as const
  const { kvTokens, microBatches } = shape
  if (role === 'attention') return startAttention(deps, { ...compute, kvTokens, microBatches, hedge: true })
  if (role === 'expert-worker') return startExpertWorker(deps, compute)
  return startDrafter(deps, { ...compute, sources: ['auto'], sharedNoise: true, ahead: true })
}

function startRouter(deps: ServiceDeps, shape: Shape): StartedService {
  const router = startRouterCore(deps, routerOptions(shape), openCheckpoint(shape.model))
  router.setState('ready')
  const stop = async (): Promise<void> => {
    router.setState('stopped')
    await router.stop()
  }
  return {
    router,
    stop,
    drain: async () => {
      router.setState('draining')
      await router.engine.drain(25_000)
      await stop()
    },
  }
}

const modelOf = ({ model: path, weightCache }: Shape) => ({ path, weights: 'int8', weightCache }) as const

function routerOptions(shape: Shape): RouterOptions {
  const { counts, replicas, prefillChunk, tokenBudget, prefixCache, maxRunning } = shape
  return {
    model: modelOf(shape),
    host: 'simulated',
    httpPort: 0,
    grpcPort: 0,
    apiKeys: [],
    numAttention: counts.attention,
    numExperts: counts['expert-worker'],
    replicas,
    rebalance: true,
    draft: shape.draft ? ['auto'] : [],
    draftSharing: 'all',
    acceptance: 'exact',
    maxTreeNodes: 16,
    tokenBudget,
    prefillChunk,
    prefixCache,
    maxRunning,
    maxWaiting: 1024,
  }
}
