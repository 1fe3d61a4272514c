// Whether Prometheus' objects and routes lead somewhere: to ports of pods that are there, to series that are exported.

import type { V1LabelSelector, V1Service } from '@kubernetes/client-node'
import { ofKind, portOf, selects, titleOf, workloads, type Manifest, type Typed } from '../manifests.js'
import { queryProblems } from './series.js'

interface Monitor extends Manifest {
  readonly spec: {
    readonly selector: V1LabelSelector
    readonly endpoints?: readonly Endpoint[] // of a ServiceMonitor
    readonly podMetricsEndpoints?: readonly Endpoint[] // of a PodMonitor
  }
}

interface Endpoint {
  readonly port?: string
  readonly path?: string
}

interface Rules extends Manifest {
  readonly spec: { readonly groups: readonly { readonly rules: readonly Rule[] }[] }
}

interface Rule {
  readonly expr: string | number
  readonly alert?: string
  readonly record?: string
}

interface Route extends Manifest {
  readonly spec: {
    readonly rules?: readonly {
      readonly backendRefs?: readonly { readonly kind?: string; readonly name: string; readonly port?: number }[]
    }[]
  }
}

export const referencesOfMonitors = (objects: readonly Manifest[]): string[] => [
  ...ofKind<Monitor>(objects, 'ServiceMonitor').flatMap((monitor) => checkServiceMonitor(monitor, objects)),
  ...ofKind<Monitor>(objects, 'PodMonitor').flatMap((monitor) => checkPodMonitor(monitor, objects)),
  ...checkRules(objects),
  ...[...ofKind<Route>(objects, 'HTTPRoute'), ...ofKind<Route>(objects, 'GRPCRoute')].flatMap((route) =>
    checkRoute(route, objects),
  ),
]

/** Beside labels there are expressions: In, NotIn, Exists, DoesNotExist. */
function takes(
  { matchLabels, matchExpressions = [] }: V1LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  const isMet = matchExpressions.every(({ key, operator, values = [] }) => {
    const value = labels[key]
    if (operator === 'Exists') return value !== undefined
    if (operator === 'DoesNotExist') return value === undefined
    return (value !== undefined && values.includes(value)) === (operator === 'In')
  })
  return isMet && selects(matchLabels, labels)
}

function checkServiceMonitor(monitor: Monitor, objects: readonly Manifest[]): string[] {
  const services = ofKind<Typed<V1Service>>(objects, 'Service').filter(({ metadata }) =>
    takes(monitor.spec.selector, metadata.labels ?? {}),
  )
  const wanted = (monitor.spec.endpoints ?? []).map(({ port = '' }) => port)
  const lacking = wanted.filter((port) => !services.some(({ spec }) => spec?.ports?.some(({ name }) => name === port)))
  return [
    ...(services.length === 0 ? [`${titleOf(monitor)}: takes no Service`] : []),
    ...lacking.map((port) => `${titleOf(monitor)}: no Service that it takes has a port ${port}`),
    ...checkPaths(monitor, monitor.spec.endpoints),
  ]
}

function checkPodMonitor(monitor: Monitor, objects: readonly Manifest[]): string[] {
  const taken = workloads(objects).filter(({ labels }) => takes(monitor.spec.selector, labels))
  const wanted = (monitor.spec.podMetricsEndpoints ?? []).map(({ port = '' }) => port)
  const lacking = taken.flatMap((workload) =>
    wanted
      .filter((port) => portOf(workload, port) === undefined)
      .map((port) => `${workload.title} has no port ${port}`),
  )
  return [
    ...(taken.length === 0 ? [`${titleOf(monitor)}: takes no pods`] : []),
    ...lacking.map((problem) => `${titleOf(monitor)}: ${problem}`),
    ...checkPaths(monitor, monitor.spec.podMetricsEndpoints),
  ]
}

const checkPaths = (monitor: Monitor, endpoints: readonly Endpoint[] = []): string[] =>
  endpoints
    .filter(({ path = '/metrics' }) => path !== '/metrics')
    .map(({ path = '' }) => `${titleOf(monitor)}: want /metrics, found ${path}`)

function checkRules(objects: readonly Manifest[]): string[] {
  const all = ofKind<Rules>(objects, 'PrometheusRule').flatMap((manifest) =>
    manifest.spec.groups.flatMap(({ rules }) => rules.map((rule) => ({ rule, title: titleOf(manifest) }))),
  )
  const recorded = new Set(all.flatMap(({ rule }) => rule.record ?? []))
  return all.flatMap(({ rule, title }) =>
    queryProblems(String(rule.expr), recorded).map(
      (problem) => `${title}: ${rule.alert ?? rule.record ?? ''}: ${problem}`,
    ),
  )
}

function checkRoute(route: Route, objects: readonly Manifest[]): string[] {
  const backends = (route.spec.rules ?? []).flatMap(({ backendRefs = [] }) => backendRefs)
  return backends
    .filter(({ kind = 'Service' }) => kind === 'Service')
    .filter(
      ({ name, port }) =>
        !ofKind<Typed<V1Service>>(objects, 'Service').some(
          ({ metadata, spec }) => metadata.name === name && spec?.ports?.some((one) => one.port === port),
        ),
    )
    .map(({ name, port }) => `${titleOf(route)}: want Service ${name} with port ${port ?? ''}, found none`)
}
