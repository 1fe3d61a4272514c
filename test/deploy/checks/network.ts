// Who may talk to whom, computed from the NetworkPolicies as a cluster would, against who must: nothing less, and nothing
// more.
//
// Invariants
//   NW1  A connection is allowed where the policies of both ends allow it; an end that no policy selects allows all.

import type {
  V1LabelSelector,
  V1NetworkPolicy,
  V1NetworkPolicyIngressRule,
  V1NetworkPolicyPeer,
  V1NetworkPolicyPort,
} from '@kubernetes/client-node'
import {
  NAME_LABEL,
  ofKind,
  OUR_NAME,
  portOf,
  ROLE_LABEL,
  selects,
  workloads,
  type Labels,
  type Manifest,
  type Typed,
  type Workload,
} from '../manifests.js'
import { environmentOf } from './settings.js'

interface End {
  readonly title: string
  readonly labels: Labels
  readonly namespace: Labels // its namespace's labels
  readonly ports: readonly Port[]
  readonly workload?: Workload
}

interface Port {
  readonly name: string
  readonly number: number
  readonly protocol: string
}

interface Connection {
  readonly from: End
  readonly to: End
  readonly port: Port
}

const namespaceLabels = (name: string, more: Labels = {}): Labels => ({ 'kubernetes.io/metadata.name': name, ...more })

/** Who is not of this namespace, by what their namespace or they themselves are called. */
const OUTSIDE: readonly End[] = [
  { title: 'client', labels: {}, namespace: namespaceLabels('apps', { 'banyan.dev/client': 'true' }), ports: [] },
  {
    title: 'monitoring',
    labels: {},
    namespace: namespaceLabels('monitoring'),
    ports: [{ name: 'otlp', number: 4318, protocol: 'TCP' }],
  },
  {
    title: 'dns',
    labels: { 'k8s-app': 'kube-dns' },
    namespace: namespaceLabels('kube-system'),
    ports: [53, 53].map((number, i) => ({ name: 'dns', number, protocol: ['UDP', 'TCP'][i] ?? '' })),
  },
  {
    title: 'stranger',
    labels: {},
    namespace: namespaceLabels('elsewhere'),
    ports: [
      { name: 'http', number: 80, protocol: 'TCP' },
      { name: 'https', number: 443, protocol: 'TCP' },
    ],
  },
]

/** from → to port, by role ('*': any of ours). Direct links, NATS, doors, series. */
const NEEDED: readonly string[] = [
  'router → router link',
  'router → attention link',
  'router → expert-worker link',
  'router → drafter link',
  'attention → expert-worker link',
  'expert-worker → expert-worker link', // they give each other shards
  'router → nats client',
  'attention → nats client',
  'expert-worker → nats client',
  'drafter → nats client',
  'nats → nats cluster',
  'client → router http',
  'client → router grpc',
  'monitoring → router metrics',
  'monitoring → attention metrics',
  'monitoring → expert-worker metrics',
  'monitoring → drafter metrics',
  'monitoring → nats monitor',
  'router → dns dns',
  'attention → dns dns',
  'expert-worker → dns dns',
  'drafter → dns dns',
  'nats → dns dns',
]

/** What these manifests need beside that: a model from the world, a place for spans. */
function neededHere(objects: readonly Manifest[]): string[] {
  const ours = workloads(objects).filter(({ isOurs }) => isOurs)
  const fetching = ours.filter(({ pod }) => pod.initContainers?.some(({ args }) => args?.[0] === 'fetch'))
  const tracing = ours.filter(({ containers }) =>
    containers.some((container) => 'OTEL_EXPORTER_OTLP_ENDPOINT' in environmentOf(container, objects)),
  )
  return [
    ...fetching.map(({ name }) => `${name} → stranger https`),
    ...tracing.map(({ name }) => `${name} → monitoring otlp`),
  ]
}

export function checkNetwork(objects: readonly Manifest[]): string[] {
  const policies = ofKind<Typed<V1NetworkPolicy>>(objects, 'NetworkPolicy')
  const needed = [...NEEDED, ...neededHere(objects)]
  const inside = workloads(objects).map(endOf)
  const ends = [...inside, ...OUTSIDE]
  const found = ends.flatMap((from) =>
    ends.flatMap((to) =>
      from.workload === undefined && to.workload === undefined
        ? []
        : to.ports.flatMap((port) => judge({ from, to, port }, policies, needed)),
    ),
  )
  const strangers = policies.flatMap(({ metadata, spec }) => {
    const peers = (spec?.egress ?? []).flatMap(({ to = [] }) => to)
    const isNobody = (peer: V1NetworkPolicyPeer): boolean => !ends.some((end) => isPeer(peer, end))
    return peers
      .filter(isNobody)
      .map((peer) => `NetworkPolicy ${metadata.name}: leads to nobody: ${JSON.stringify(peer)}`)
  })
  return [...new Set(found), ...strangers]
}

function judge(connection: Connection, policies: readonly V1NetworkPolicy[], needed: readonly string[]): string[] {
  const { from, to, port } = connection
  const isAllowed = allows(connection, policies, 'Egress') && allows(connection, policies, 'Ingress')
  const name = `${from.title} → ${to.title} ${port.name}`
  if (isAllowed === needed.includes(name)) return []
  return [
    isAllowed ? `NetworkPolicies: nobody needs ${name}, and it is allowed` : `NetworkPolicies: want ${name} allowed`,
  ]
}

function endOf(workload: Workload): End {
  const { labels, containers } = workload
  const ports = containers.flatMap(({ ports: opened = [] }) =>
    opened.map(({ name = '', containerPort: number, protocol = 'TCP' }) => ({ name, number, protocol })),
  )
  const title = labels[NAME_LABEL] === OUR_NAME ? (labels[ROLE_LABEL] ?? '') : (labels[NAME_LABEL] ?? '')
  return { title, labels, namespace: namespaceLabels('banyan'), ports, workload }
}

function allows(
  { from, to, port }: Connection,
  policies: readonly V1NetworkPolicy[],
  side: 'Ingress' | 'Egress',
): boolean {
  const [self, peer] = side === 'Ingress' ? [to, from] : [from, to]
  if (self.workload === undefined) return true // what is elsewhere is not ours to close
  const own = policies
    .flatMap(({ spec }) => spec ?? [])
    .filter(({ podSelector, policyTypes = [] }) => policyTypes.includes(side) && takes(podSelector, self.labels))
  if (own.length === 0) return true
  return own.some(({ ingress = [], egress = [] }) => {
    const peersOf = (rule: V1NetworkPolicyIngressRule & From) => ({ peers: rule.from, ports: rule.ports })
    const rules = side === 'Ingress' ? ingress.map(peersOf) : egress.map(({ to: peers, ports }) => ({ peers, ports }))
    return rules.some(
      ({ peers = [], ports }) =>
        (peers.length === 0 || peers.some((one) => isPeer(one, peer))) &&
        (ports === undefined || ports.some((one) => isPort(one, port, to))),
    )
  })
}

/** The client's types rename what is a word of their language. */
interface From {
  readonly from?: V1NetworkPolicyPeer[]
}

function isPeer({ podSelector, namespaceSelector, ipBlock }: V1NetworkPolicyPeer, peer: End): boolean {
  if (ipBlock !== undefined) return peer.workload === undefined // whoever is outside
  const isInNamespace =
    namespaceSelector === undefined ? peer.workload !== undefined : takes(namespaceSelector, peer.namespace)
  return isInNamespace && (podSelector === undefined || takes(podSelector, peer.labels))
}

/** A named port is the one that the pods of the connection's end call so. */
function isPort(wanted: V1NetworkPolicyPort, { number, protocol }: Port, { workload }: End): boolean {
  if ((wanted.protocol ?? 'TCP') !== protocol) return false
  if (wanted.port === undefined) return true
  if (typeof wanted.port === 'string') return workload !== undefined && portOf(workload, wanted.port) === number
  return number >= wanted.port && number <= (wanted.endPort ?? wanted.port)
}

function takes(selector: V1LabelSelector | undefined, labels: Labels): boolean {
  if (selector?.matchExpressions !== undefined) throw new Error('want labels alone in the selectors of NetworkPolicies')
  return selects(selector?.matchLabels, labels)
}
