// The machines that a plan may use.

export interface NodePool {
  readonly name: string
  readonly count: number
  readonly cpus: number
  readonly memory: number // bytes
  readonly bandwidth: number // memory reads of the whole node, bytes a second
  readonly network: number // each direction, bytes a second
  readonly gpus: number
  readonly gpuMemory: number // bytes, of each
  readonly gpuBandwidth: number // bytes a second, of each
  readonly gpuOperations: number // a second, of each
  readonly label?: Readonly<{ key: string; value: string }> | undefined // on its nodes
}

/** What Kubernetes and the system keep of a node. */
const SYSTEM = { cpus: 0.25, memory: 512 * 2 ** 20, memoryShare: 0.05 }

export const allocatable = ({ cpus, memory }: NodePool): { readonly cpus: number; readonly memory: number } => ({
  cpus: Math.max(0, cpus - SYSTEM.cpus),
  memory: Math.max(0, memory * (1 - SYSTEM.memoryShare) - SYSTEM.memory),
})

/** Several pools taken as one of the weakest node that they have. */
export function unionOf(pools: readonly NodePool[]): NodePool {
  const least = (of: (pool: NodePool) => number): number => Math.min(...pools.map(of))
  return {
    name: pools.map(({ name }) => name).join('+'),
    count: pools.reduce((sum, { count }) => sum + count, 0),
    cpus: least(({ cpus }) => cpus),
    memory: least(({ memory }) => memory),
    bandwidth: least(({ bandwidth }) => bandwidth),
    network: least(({ network }) => network),
    gpus: least(({ gpus }) => gpus),
    gpuMemory: least(({ gpuMemory }) => gpuMemory),
    gpuBandwidth: least(({ gpuBandwidth }) => gpuBandwidth),
    gpuOperations: least(({ gpuOperations }) => gpuOperations),
  }
}

export interface PodRequest {
  readonly cpus: number
  readonly memory: number
}

/** The most that one node must keep for these pods when they are spread over so many nodes, largest first. */
export function fullestNode(pods: readonly PodRequest[], numNodes: number): PodRequest {
  const nodes = Array.from({ length: numNodes }, () => ({ cpus: 0, memory: 0 }))
  for (const pod of [...pods].sort((a, b) => b.cpus - a.cpus)) {
    const lightest = nodes.reduce((best, node) => (node.cpus < best.cpus ? node : best))
    lightest.cpus += pod.cpus
    lightest.memory += pod.memory
  }
  return { cpus: Math.max(...nodes.map(({ cpus }) => cpus)), memory: Math.max(...nodes.map(({ memory }) => memory)) }
}
