// Whether what objects name is there: by name, by label, by port.

import type {
  V1ConfigMap,
  V1PersistentVolumeClaim,
  V1PodDisruptionBudget,
  V1Secret,
  V1Service,
  V1Volume,
} from '@kubernetes/client-node'
import { ofKind, portOf, selects, titleOf, workloads, type Manifest, type Typed, type Workload } from '../manifests.js'
import { referencesOfMonitors } from './monitors.js'
import { referencesOfScalers } from './scalers.js'

/** Kinds that belong to no namespace. */
const CLUSTER_WIDE: ReadonlySet<string> = new Set(['Namespace', 'PriorityClass'])

/** `objects` with the Secrets that whoever applies them brings along. */
export function checkReferences(objects: readonly Manifest[]): string[] {
  return [
    ...checkNames(objects),
    ...checkSelectors(objects),
    ...checkServices(objects),
    ...checkBudgets(objects),
    ...workloads(objects).flatMap((workload) => checkPod(workload, objects)),
    ...checkUse(objects),
    ...referencesOfScalers(objects),
    ...referencesOfMonitors(objects),
  ]
}

function checkNames(objects: readonly Manifest[]): string[] {
  const titles = objects.map((object) => `${titleOf(object)} ${object.metadata.namespace ?? ''}`)
  const twice = titles.filter((title, i) => titles.indexOf(title) !== i)
  const namespaces = new Set(ofKind(objects, 'Namespace').map(({ metadata }) => metadata.name))
  const homeless = objects.filter(
    ({ kind, metadata: { namespace } }) => !CLUSTER_WIDE.has(kind) && !namespaces.has(namespace),
  )
  return [
    ...twice.map((title) => `${title}: twice`),
    ...homeless.map(
      (object) => `${titleOf(object)}: want a namespace that is there, found ${object.metadata.namespace ?? 'none'}`,
    ),
  ]
}

function checkSelectors(objects: readonly Manifest[]): string[] {
  const all = workloads(objects)
  return all.flatMap(({ title, selector, labels }) => {
    if (selector === undefined) return [] // a Job's is made for it
    const others = all.filter((other) => other.title !== title && selects(selector, other.labels))
    return [
      ...(selects(selector, labels) ? [] : [`${title}: its selector does not take its own pods`]),
      ...others.map((other) => `${title}: its selector takes pods of ${other.title}`),
    ]
  })
}

function checkServices(objects: readonly Manifest[]): string[] {
  const services = ofKind<Typed<V1Service>>(objects, 'Service')
  const found = services.flatMap((service) => {
    const title = titleOf(service)
    const taken = workloads(objects).filter(({ labels }) => selects(service.spec?.selector, labels))
    const [workload, ...more] = taken
    if (workload === undefined || more.length > 0 || service.spec?.selector === undefined)
      return [`${title}: want the pods of one workload, found ${taken.map((one) => one.title).join(', ') || 'none'}`]
    return (service.spec.ports ?? []).flatMap(({ port, targetPort = port }) =>
      portOf(workload, targetPort) === undefined ? [`${title}: ${workload.title} has no port ${targetPort}`] : [],
    )
  })
  const governed = workloads(objects).flatMap(({ manifest, title }) => {
    const name = 'spec' in manifest && (manifest.spec as { readonly serviceName?: string }).serviceName // of a StatefulSet
    if (typeof name !== 'string') return []
    const service = services.find(({ metadata }) => metadata.name === name)
    return service?.spec?.clusterIP === 'None' ? [] : [`${title}: want a headless Service ${name}`]
  })
  return [...found, ...governed]
}

function checkBudgets(objects: readonly Manifest[]): string[] {
  return ofKind<Typed<V1PodDisruptionBudget>>(objects, 'PodDisruptionBudget').flatMap((budget) => {
    const { selector, maxUnavailable, minAvailable } = budget.spec ?? {}
    const taken = workloads(objects).filter(({ labels }) => selects(selector?.matchLabels, labels))
    const isOpen = maxUnavailable !== undefined && maxUnavailable !== 0 && maxUnavailable !== '0%'
    return [
      ...(taken.length === 1 && selector !== undefined ? [] : [`${titleOf(budget)}: want the pods of one workload`]),
      ...(isOpen && minAvailable === undefined
        ? []
        : [`${titleOf(budget)}: want maxUnavailable of 1 or more, so that nodes can be drained`]),
    ]
  })
}

// --- What a pod names.

function checkPod(workload: Workload, objects: readonly Manifest[]): string[] {
  const { pod, title, containers, claims } = workload
  const has = (kind: string, name: string | undefined): string[] =>
    objects.some((object) => object.kind === kind && object.metadata.name === name)
      ? []
      : [`${title}: want ${kind} ${name ?? ''}, found none`]
  const volumes = pod.volumes ?? []
  const mounted = containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name))
  const known = [...volumes.map(({ name }) => name), ...claims.map(({ metadata }) => metadata?.name ?? '')]
  const variables = containers.flatMap(({ env = [] }) => env.flatMap(({ valueFrom }) => valueFrom ?? []))
  return [
    ...(pod.serviceAccountName === undefined ? [] : has('ServiceAccount', pod.serviceAccountName)),
    ...(pod.priorityClassName === undefined ? [] : has('PriorityClass', pod.priorityClassName)),
    ...containers.flatMap(({ envFrom = [] }) =>
      envFrom.flatMap(({ configMapRef, secretRef }) => [
        ...(configMapRef === undefined ? [] : has('ConfigMap', configMapRef.name)),
        ...(secretRef === undefined ? [] : has('Secret', secretRef.name)),
      ]),
    ),
    ...variables.flatMap(({ configMapKeyRef: map, secretKeyRef: secret }) => [
      ...(map === undefined ? [] : hasKey(title, objects, { kind: 'ConfigMap', ...map, isOptional: map.optional })),
      ...(secret === undefined
        ? []
        : hasKey(title, objects, { kind: 'Secret', ...secret, isOptional: secret.optional })),
    ]),
    ...volumes.flatMap((volume) => checkVolume(title, volume, objects)),
    ...mounted.filter((name) => !known.includes(name)).map((name) => `${title}: mounts ${name}, which is no volume`),
    ...known.filter((name) => !mounted.includes(name)).map((name) => `${title}: volume ${name} is mounted nowhere`),
  ]
}

interface Source {
  readonly kind: 'ConfigMap' | 'Secret'
  readonly name?: string | undefined
  readonly key?: string | undefined
  readonly isOptional?: boolean | undefined
}

function hasKey(title: string, objects: readonly Manifest[], { kind, name, key, isOptional }: Source): string[] {
  if (isOptional === true) return []
  const found = ofKind<Typed<V1Secret> | Typed<V1ConfigMap>>(objects, kind).find(
    ({ metadata }) => metadata.name === name,
  )
  if (found === undefined) return [`${title}: want ${kind} ${name ?? ''}, found none`]
  const keys = Object.keys({ ...found.data, ...('stringData' in found ? found.stringData : {}) })
  return key === undefined || keys.includes(key) ? [] : [`${title}: want key ${key} in ${kind} ${name ?? ''}`]
}

function checkVolume(title: string, volume: V1Volume, objects: readonly Manifest[]): string[] {
  const { configMap, secret, projected, persistentVolumeClaim } = volume
  const sources = [
    { map: configMap, secret: secret && { name: secret.secretName, items: secret.items, optional: secret.optional } },
    ...(projected?.sources ?? []).map((source) => ({ map: source.configMap, secret: source.secret })),
  ]
  const named = sources.flatMap(({ map, secret: one }) => [...keysOf('ConfigMap', map), ...keysOf('Secret', one)])
  const claims = ofKind<Typed<V1PersistentVolumeClaim>>(objects, 'PersistentVolumeClaim')
  const claim = persistentVolumeClaim?.claimName
  const isThere = claim === undefined || claims.some(({ metadata }) => metadata.name === claim)
  return [
    ...named.flatMap((source) => hasKey(title, objects, source)),
    ...(isThere ? [] : [`${title}: want PersistentVolumeClaim ${claim}, found none`]),
  ]
}

interface Projection {
  readonly name?: string | undefined
  readonly optional?: boolean | undefined
  readonly items?: readonly { readonly key: string }[] | undefined
}

function keysOf(kind: Source['kind'], projection: Projection | undefined): Source[] {
  if (projection === undefined) return []
  const { name, optional: isOptional, items = [] } = projection
  return [{ kind, name, isOptional }, ...items.map(({ key }) => ({ kind, name, key, isOptional }))]
}

/** What is there for nobody was meant for somebody. */
function checkUse(objects: readonly Manifest[]): string[] {
  const pods = JSON.stringify(workloads(objects).map(({ pod }) => pod))
  return objects
    .filter(({ kind }) => ['ConfigMap', 'ServiceAccount', 'PriorityClass', 'PersistentVolumeClaim'].includes(kind))
    .filter(
      ({ metadata: { name, labels = {} } }) => !pods.includes(`"${name ?? ''}"`) && !('grafana_dashboard' in labels),
    )
    .map((object) => `${titleOf(object)}: no pod uses it`)
}
