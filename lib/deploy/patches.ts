// What a plan changes of the base's objects, as strategic merge patches.

import type { NodePool } from './node-pool.js'
import { servicePods, type Plan } from './plan.js'
import type { RolePods } from './role-pods.js'
import { memoryQuantity, processorQuantity } from './units.js'

export type Yaml = Readonly<Record<string, unknown>>

const KIND: Readonly<Record<RolePods['role'], string>> = {
  router: 'Deployment',
  attention: 'StatefulSet',
  'expert-worker': 'StatefulSet',
  drafter: 'Deployment',
}

/** Processors, memory, device and place of a role's pods. */
export function workloadPatch(pods: RolePods, plan: Plan): Yaml {
  const { role, cpus, memory, memoryLimit, device, seat, perNode } = pods
  const isGpu = device !== 'cpu'
  return {
    apiVersion: 'apps/v1',
    kind: KIND[role],
    metadata: { name: role },
    spec: {
      template: {
        spec: {
          ...(seat === undefined ? {} : selectorOf(seat.pool, plan)),
          ...(isGpu ? GPU_NODES : {}),
          ...(role === 'expert-worker' && perNode > 1 ? { topologySpreadConstraints: [evenly(role)] } : {}),
          containers: [
            {
              name: role,
              ...(device === 'cuda' ? { image: 'banyan:0.1.0-cuda' } : {}),
              ...(isGpu ? { env: gpuEnvironment(device) } : {}),
              resources: {
                requests: { cpu: processorQuantity(cpus), memory: memoryQuantity(memory) },
                limits: {
                  memory: memoryQuantity(memoryLimit),
                  ...(isGpu ? { [GPU_RESOURCE]: '1' } : {}),
                },
              },
            },
          ],
          ...(role === 'expert-worker'
            ? {} // its cache is a claim
            : { volumes: [{ name: 'cache', emptyDir: { sizeLimit: storageQuantity(pods.cacheBytes) } }] }),
        },
      },
    },
  }
}

/** Where there are several pools, each role stays in its own, unless it is in all of them. */
function selectorOf(pool: NodePool, { request }: Plan): Yaml {
  const isNamed = request.pools.includes(pool) && (request.pools.length > 1 || pool.label !== undefined)
  if (!isNamed) return {}
  const { key, value } = pool.label ?? { key: POOL_LABEL, value: pool.name }
  return { nodeSelector: { [key]: value } }
}

export const POOL_LABEL = 'banyan.dev/pool'
const GPU_RESOURCE = 'nvidia.com/gpu'
const GPU_NODES: Yaml = {
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: 'nvidia.com/gpu.present', operator: 'In', values: ['true'] }] },
        ],
      },
    },
  },
  tolerations: [{ key: GPU_RESOURCE, operator: 'Exists', effect: 'NoSchedule' }],
}

const gpuEnvironment = (device: string): readonly Yaml[] => [
  { name: 'BANYAN_DEVICE', value: device },
  { name: 'NVIDIA_DRIVER_CAPABILITIES', value: device === 'cuda' ? 'compute,utility' : 'compute,graphics,utility' },
]

/** Several workers on a node, as many on each. */
const evenly = (role: string): Yaml => ({
  maxSkew: 1,
  topologyKey: 'kubernetes.io/hostname',
  whenUnsatisfiable: 'DoNotSchedule',
  labelSelector: { matchLabels: { 'app.kubernetes.io/name': 'banyan', 'app.kubernetes.io/component': role } },
})

export const natsPatch = ({ services }: Plan): Yaml => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'nats' },
  spec: {
    template: {
      spec: {
        containers: [
          {
            name: 'nats',
            resources: {
              requests: {
                cpu: processorQuantity(servicePods(services).nats.cpus),
                memory: memoryQuantity(servicePods(services).nats.memory),
              },
            },
          },
        ],
      },
    },
  },
})

/** The autoscaler says how many there are, from what is planned on. */
export const scalerPatch = ({ role, pods, mostPods }: RolePods): Yaml => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name: role },
  spec: { minReplicas: pods, maxReplicas: mostPods },
})

const GIBI = 2 ** 30
const CACHE_ROOM = 2 // shards move, and a volume is not to be full

/** Room for packed weights. */
export const storageQuantity = (bytes: number): string => `${Math.max(1, Math.ceil((CACHE_ROOM * bytes) / GIBI))}Gi`
