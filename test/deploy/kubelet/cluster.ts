// A cluster of one machine: nodes in name, controllers that keep as many pods as are asked for, Services, rolling restarts
// and the draining of a node, as Kubernetes does them.

import type { V1Deployment, V1Service } from '@kubernetes/client-node'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from '../../helpers/eventually.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { scalers } from '../checks/scalers.js'
import { ofKind, workloads, type Manifest, type Typed, type Workload } from '../manifests.js'
import { createAddresses } from './identity.js'
import { startPod, type Pod } from './pod.js'
import { processSpec } from './process-spec.js'
import { chooseNode, mayEvict, type Node } from './scheduling.js'
import { startService, type ServiceProxy } from './service.js'

export interface KubeOptions {
  readonly objects: readonly Manifest[] // Secrets too
  readonly nodes: readonly string[]
  readonly timeFactor: number
  readonly natsServer: string
}

export interface Kube {
  readonly pods: readonly Pod[] // those that left too
  serviceAddress(name: string): string
  /** Every workload of these names has new pods in place of all that it had. */
  rollout(name: string): Promise<void>
  /** Takes no new pods; evicts those it has as budgets allow. Resolves when they are gone and others are ready in their place. */
  drain(node: string): Promise<void>
  whenReady(names?: readonly string[]): Promise<void>
  stop(): Promise<void>
}

const READY_MS = 60_000

export async function startKube({ objects, nodes: names, timeFactor, natsServer }: KubeOptions): Promise<Kube> {
  const root = mkdtempSync(join(tmpdir(), 'banyan-kube-'))
  const nodes: Node[] = names.map((name) => ({ name, isCordoned: false }))
  const addresses = createAddresses()
  const all = workloads(objects)
  const pods: Pod[] = []
  const gone: Pod[] = []
  const services = new Map<string, ServiceProxy>()
  const lasting = all.filter(isStateful).flatMap((workload) => {
    const { serviceName = '' } = (workload.manifest as Manifest & { spec: { serviceName?: string } }).spec // a StatefulSet's
    return ordinals(numWanted(workload)).map((i): [string, string] => {
      const name = `${workload.name}-${i}`
      return [`${name}.${serviceName}`, addresses.of(name)]
    })
  })
  let numMade = 0
  let isStopping = false

  function numWanted(workload: Workload): number {
    const scaler = scalers(objects).find(({ kind, name }) => kind === workload.manifest.kind && name === workload.name)
    return scaler?.min ?? workload.replicas ?? 1
  }

  const claimFolder = (claim: string): string => {
    const folder = join(root, 'claims', claim)
    mkdirSync(join(folder, '..'), { recursive: true })
    mkdirSync(folder, { recursive: true })
    return folder
  }

  const create = async (workload: Workload, name: string): Promise<Pod> => {
    const [container] = workload.pod.containers
    if (container === undefined) throw new Error(`${workload.title}: want a container`)
    const place = (): string | undefined => chooseNode(workload, nodes, pods)
    await eventually(() => place() !== undefined || isStopping, `a node for ${name}`, READY_MS)
    const ip = isStateful(workload) ? addresses.of(name) : addresses.next()
    const identity = { name, ip, node: place() ?? '', labels: workload.labels }
    const podFolder = join(root, 'pods', `${name}-${(numMade += 1)}`)
    const options = { objects, identity, podFolder, claimFolder, names: new Map(lasting), natsServer, timeFactor }
    const spec = processSpec(workload, container, options)
    const pod = startPod({ workload, container, identity, spec, timeFactor })
    pods.push(pod)
    return pod
  }

  const newName = (workload: Workload): string => `${workload.name}-${(numMade + 1).toString(36)}x`

  const leave = async (pod: Pod): Promise<void> => {
    await pod.leave()
    pods.splice(pods.indexOf(pod), 1)
    gone.push(pod)
  }

  const isReady = (pod: Pod): Promise<void> =>
    eventually(() => pod.isReady, `${pod.name} is ready`, READY_MS).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${pod.words}`)
    })
  const of = (workload: Workload): Pod[] => pods.filter((pod) => pod.workload === workload)

  /** StatefulSets: the last first, one at a time, under the same name. */
  const rollStateful = async (workload: Workload): Promise<void> => {
    for (const pod of of(workload).sort((a, b) => (a.name < b.name ? 1 : -1))) {
      await leave(pod)
      await isReady(await create(workload, pod.name))
    }
  }

  /** Deployments: so many more than are asked for, so many less. */
  const rollDeployment = async (workload: Workload): Promise<void> => {
    const { rollingUpdate } = (workload.manifest as Typed<V1Deployment>).spec?.strategy ?? {} // of its kind
    const { maxSurge, maxUnavailable } = rollingUpdate ?? {}
    if (maxSurge !== 1 || maxUnavailable !== 0) throw new Error(`${workload.title}: want maxSurge 1, maxUnavailable 0`)
    const leaving: Promise<void>[] = []
    for (const pod of of(workload)) {
      await isReady(await create(workload, newName(workload)))
      leaving.push(leave(pod)) // the next one is made meanwhile: who leaves counts no more
    }
    await Promise.all(leaving)
  }

  const replace = async (pod: Pod): Promise<void> => {
    const { workload } = pod
    if (isStateful(workload)) {
      await leave(pod)
      return isReady(await create(workload, pod.name))
    }
    const leaving = leave(pod)
    await isReady(await create(workload, newName(workload)))
    await leaving
  }

  const evict = async (pod: Pod): Promise<void> => {
    await eventually(() => mayEvict(pod, pods, numWanted(pod.workload), objects), `${pod.name} may go`, READY_MS)
    await replace(pod)
  }

  const stop = async (): Promise<void> => {
    isStopping = true
    await Promise.all([...services.values()].map((service) => service.close()))
    const first = pods.filter(({ workload }) => workload.isOurs)
    await Promise.all(first.map((pod) => pod.stop()))
    await Promise.all(pods.map((pod) => pod.stop()))
    rmSync(root, { recursive: true, force: true })
  }

  const whenReady = async (wanted: readonly string[] = all.map(({ name }) => name)): Promise<void> => {
    for (const workload of all.filter(({ name }) => wanted.includes(name))) {
      for (const pod of of(workload)) await isReady(pod)
    }
  }

  try {
    symlinkSync(join(repositoryRoot, 'models', 'demo'), join(claimFolder('models'), 'current'))
    for (const service of ofKind<Typed<V1Service>>(objects, 'Service')) {
      const proxy = await startService(service, addresses.next(), () => pods)
      services.set(service.metadata.name ?? '', proxy)
    }
    for (const workload of all) {
      for (const i of ordinals(numWanted(workload)))
        await create(workload, isStateful(workload) ? `${workload.name}-${i}` : newName(workload))
    }
  } catch (error) {
    await stop()
    throw error
  }

  return {
    get pods() {
      return [...pods, ...gone]
    },
    serviceAddress: (name) => services.get(name)?.address ?? '',
    rollout: async (name) => {
      const workload = all.find((one) => one.name === name)
      if (workload === undefined) throw new Error(`want a workload ${name}`)
      await (isStateful(workload) ? rollStateful(workload) : rollDeployment(workload))
    },
    drain: async (name) => {
      for (const node of nodes) if (node.name === name) node.isCordoned = true
      await Promise.all(pods.filter(({ node }) => node === name).map(evict))
    },
    whenReady,
    stop,
  }
}

const isStateful = ({ manifest }: Workload): boolean => manifest.kind === 'StatefulSet'
const ordinals = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
