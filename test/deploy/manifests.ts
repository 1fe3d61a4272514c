// Rendered manifests as data: documents of YAML, and the pods that they make.

import type {
  V1Container,
  V1ObjectMeta,
  V1PersistentVolumeClaim,
  V1PodSpec,
  V1StatefulSet,
} from '@kubernetes/client-node'
import { parseAllDocuments } from 'yaml'

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: V1ObjectMeta
}

/** What a judge finds wrong, one sentence each that begins with the object. */
export type Check = (objects: readonly Manifest[]) => string[]

/** A Deployment, StatefulSet, DaemonSet or Job: whatever makes pods. */
export interface Workload {
  readonly manifest: Manifest
  readonly title: string // 'Deployment router'
  readonly name: string
  readonly replicas: number | undefined // undefined: an autoscaler says
  readonly selector: Labels | undefined
  readonly labels: Labels // of its pods
  readonly pod: V1PodSpec
  readonly containers: readonly V1Container[] // those that start the others included
  readonly claims: readonly V1PersistentVolumeClaim[] // a volume each for every pod
  readonly isOurs: boolean // a service of Banyan
}

export type Labels = Readonly<Record<string, string>>

export const OUR_NAME = 'banyan'
export const NAME_LABEL = 'app.kubernetes.io/name'
export const ROLE_LABEL = 'app.kubernetes.io/component'
const WORKLOADS: ReadonlySet<string> = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'Job'])

/** Throws where the text is no YAML, or a document no object of Kubernetes. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [problem] = [...document.errors, ...document.warnings]
    if (problem !== undefined) throw problem
    const value: unknown = document.toJS()
    if (value === null) return []
    if (isManifest(value)) return [value]
    throw new Error(`want apiVersion, kind and metadata.name, found ${JSON.stringify(value).slice(0, 200)}`)
  })
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null

const isManifest = (value: unknown): value is Manifest =>
  isObject(value) &&
  typeof value.apiVersion === 'string' &&
  typeof value.kind === 'string' &&
  isObject(value.metadata) &&
  typeof value.metadata.name === 'string'

export const titleOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name ?? ''}`

/** Their schema is looked at by `schema.ts`: here a kind is trusted to have its type. */
export const ofKind = <T extends Manifest>(objects: readonly Manifest[], kind: T['kind']): readonly T[] =>
  objects.filter((object): object is T => object.kind === kind)

export type Typed<T> = T & Manifest

export function workloads(objects: readonly Manifest[]): Workload[] {
  // All four kinds have this much of a StatefulSet's spec.
  const makers = objects.filter((object): object is Typed<V1StatefulSet> => WORKLOADS.has(object.kind))
  return makers.map((manifest) => {
    const { template, replicas, selector, volumeClaimTemplates: claims = [] } = manifest.spec ?? {}
    const pod = template?.spec ?? { containers: [] }
    const labels = template?.metadata?.labels ?? {}
    return {
      manifest,
      title: titleOf(manifest),
      name: manifest.metadata.name ?? '',
      replicas,
      selector: selector?.matchLabels,
      labels,
      pod,
      containers: [...(pod.initContainers ?? []), ...pod.containers],
      claims,
      isOurs: labels[NAME_LABEL] === OUR_NAME,
    }
  })
}

/** Whether a selector of labels takes these; one that asks for nothing takes all. */
export const selects = (selector: Labels | undefined, labels: Labels): boolean =>
  Object.entries(selector ?? {}).every(([name, value]) => labels[name] === value)

/** The number of a port that a workload's containers open, by its name or number. */
export const portOf = ({ containers }: Workload, wanted: unknown): number | undefined =>
  containers
    .flatMap(({ ports = [] }) => ports)
    .find(({ name, containerPort }) => name === wanted || containerPort === wanted)?.containerPort

/** The objects with one field of one of them set, or left out: how tests break what is whole. A path: 'spec.ports.0.name'. */
export function changed(objects: readonly Manifest[], title: string, path: string, value: unknown): Manifest[] {
  const copies = structuredClone([...objects])
  const found = copies.find((object) => titleOf(object) === title)
  if (found === undefined) throw new Error(`want ${title} among ${objects.map(titleOf).join(', ')}`)
  const steps = path.split('.').map((step) => step.replaceAll('~', '.'))
  const last = steps.pop() ?? ''
  let at: unknown = found
  for (const step of steps) at = isObject(at) ? at[step] : undefined
  if (!isObject(at)) throw new Error(`${title}: want ${path}`)
  if (value === undefined) Reflect.deleteProperty(at, last)
  else Reflect.set(at, last, value)
  return copies
}
