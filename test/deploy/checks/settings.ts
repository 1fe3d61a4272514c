// Whether containers are told what the code reads: settings by their names and forms, ports that it opens, paths that are
// mounted, probes that are answered, and time enough to leave.

import type { V1ConfigMap, V1Container, V1EnvVar, V1Probe } from '@kubernetes/client-node'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { resolveConfig } from '../../../lib/config/resolve.js'
import type { ClusterConfig } from '../../../lib/config/schema.js'
import { SETTINGS } from '../../../lib/config/settings.js'
import { ClusterError } from '../../../lib/errors.js'
import { findRoute } from '../../../services/router/http/routes.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { ofKind, portOf, workloads, type Manifest, type Typed, type Workload } from '../manifests.js'

/** What others than Banyan read in its containers. */
const OF_OTHERS: ReadonlySet<string> = new Set(['NVIDIA_DRIVER_CAPABILITIES', 'NVIDIA_VISIBLE_DEVICES', 'NODE_OPTIONS'])
const MONITOR_PATHS: ReadonlySet<string> = new Set(['/health', '/ready', '/metrics'])

export function checkSettings(objects: readonly Manifest[]): string[] {
  return workloads(objects).flatMap((workload) => {
    const title = workload.title
    if (!workload.isOurs) return checkForeign(workload, objects).map((problem) => `${title}: ${problem}`)
    const services = workload.pod.containers.filter(({ args }) => args?.[0] === 'serve')
    return services
      .flatMap((container) => checkService(workload, container, objects))
      .map((problem) => `${title}: ${problem}`)
  })
}

function checkService(workload: Workload, container: V1Container, objects: readonly Manifest[]): string[] {
  const env = environmentOf(container, objects)
  const read = namesRead()
  const unread = Object.keys(env).filter((name) => !read.has(name) && !OF_OTHERS.has(name))
  const problems = unread.map((name) => `nothing reads ${name}`)
  try {
    const { config } = resolveConfig({ env, machine: { cores: 1, model: '/in/the/image' } })
    return [
      ...problems,
      ...checkPorts(workload, container, config),
      ...checkPaths(workload, container, env),
      ...checkProbes(workload, container),
      ...checkTime(workload, container, config),
      ...(config.transport === 'nats' ? [] : [`want the transport nats, found ${config.transport}`]),
    ]
  } catch (error) {
    return [...problems, ClusterError.from(error).message]
  }
}

let names: ReadonlySet<string> | undefined

/** Settings, and what else the sources read by name. */
const namesRead = (): ReadonlySet<string> => (names ??= readNames())

function readNames(): ReadonlySet<string> {
  const settings = Object.values(SETTINGS).map(({ env }) => env)
  const sources = ['lib', 'services', 'cli'].flatMap((folder) =>
    readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(repositoryRoot, folder, file), 'utf8')),
  )
  const named = sources.flatMap((text) => [...text.matchAll(/\benv(?:\.|\[')([A-Z][A-Z0-9_]+)/g)])
  return new Set([...settings, ...named.map(([, name = '']) => name)])
}

/** As the kubelet makes it; what only a cluster knows is filled in with something of its form. */
export function environmentOf(container: V1Container, objects: readonly Manifest[]): Record<string, string> {
  const maps = ofKind<Typed<V1ConfigMap>>(objects, 'ConfigMap')
  const from = (container.envFrom ?? []).flatMap(({ configMapRef, prefix = '' }) => {
    const data = maps.find(({ metadata }) => metadata.name === configMapRef?.name)?.data ?? {}
    return Object.entries(data).map(([name, value]): [string, string] => [prefix + name, value])
  })
  const own = (container.env ?? []).map((variable): [string, string] => [variable.name, valueOf(variable, container)])
  return Object.fromEntries([...from, ...own])
}

function valueOf({ value, valueFrom }: V1EnvVar, { name, resources }: V1Container): string {
  const field = valueFrom?.fieldRef?.fieldPath
  if (field === 'metadata.name') return `${name}-0`
  if (field === 'status.podIP') return '10.1.2.3'
  if (field !== undefined) return 'something'
  const resource = valueFrom?.resourceFieldRef?.resource
  if (resource !== undefined) return wholeCpu(resources?.requests?.[resource.replace('requests.', '')] ?? '')
  return value ?? 'secret'
}

/** Processors as the downward API tells them: rounded up. */
export const wholeCpu = (quantity: string): string =>
  String(Math.ceil(quantity.endsWith('m') ? Number(quantity.slice(0, -1)) / 1000 : Number(quantity)))

function checkPorts(workload: Workload, container: V1Container, config: ClusterConfig): string[] {
  const isRouter = container.args?.[1] === 'router'
  const opened: Readonly<Record<string, unknown>> = {
    metrics: config.metricsPort,
    link: config.linkPort,
    ...(isRouter && { http: config.http, grpc: config.grpc }),
  }
  const wrong = Object.entries(opened).filter(([name, port]) => portOf(workload, name) !== port)
  const more = (container.ports ?? []).filter(({ name = '' }) => !(name in opened))
  const isReachable = config.metricsHost === '0.0.0.0' && (!isRouter || config.host === '0.0.0.0')
  return [
    ...wrong.map(([name, port]) => `want port ${name} at ${String(port)}, as its settings say`),
    ...more.map(({ name, containerPort }) => `nothing opens port ${name ?? containerPort}`),
    ...(isReachable ? [] : ['want its ports open at 0.0.0.0: probes come from the node']),
  ]
}

/** Every absolute path of its settings lies in a volume, and where that one's files are listed is one of them. */
function checkPaths(
  { pod, claims }: Workload,
  container: V1Container,
  env: Readonly<Record<string, string>>,
): string[] {
  const paths = Object.entries(env).filter(([, value]) => value.startsWith('/'))
  return paths.flatMap(([name, path]) => {
    const mount = (container.volumeMounts ?? []).find(({ mountPath }) => path.startsWith(`${mountPath}/`))
    if (mount === undefined) return [`${name}: nothing is mounted at ${path}`]
    if (claims.some(({ metadata }) => metadata?.name === mount.name)) return []
    const items = pod.volumes?.find((volume) => volume.name === mount.name)?.secret?.items
    const file = path.slice(mount.mountPath.length + 1)
    return items === undefined || items.some((item) => item.path === file) ? [] : [`${name}: no file ${path}`]
  })
}

function checkProbes(workload: Workload, { startupProbe, readinessProbe, livenessProbe }: V1Container): string[] {
  const monitor = portOf(workload, 'metrics')
  const door = portOf(workload, 'http')
  const isAnswered = (probe: V1Probe): boolean => {
    const { path = '/', port, scheme = 'HTTP' } = probe.httpGet ?? {}
    const at = portOf(workload, port)
    if (at === undefined || scheme !== 'HTTP') return false
    return at === monitor ? MONITOR_PATHS.has(path) : at === door && hasRoute(path)
  }
  const probes = Object.entries({ startupProbe, readinessProbe, livenessProbe })
  const wrong = probes.filter(([, probe]) => probe !== undefined && !isAnswered(probe))
  return [
    ...wrong.map(([name, probe]) => `${name}: nobody answers ${JSON.stringify(probe?.httpGet ?? probe)}`),
    ...(readinessProbe?.httpGet?.path === '/ready' ? [] : ['readinessProbe: want /ready']),
    ...(livenessProbe?.httpGet?.path === '/health' ? [] : ['livenessProbe: want /health, which depends on nobody']),
    ...(startupProbe?.httpGet?.path === '/health'
      ? []
      : ['startupProbe: want /health: a restart brings back nobody whom readiness waits for']),
  ]
}

function hasRoute(path: string): boolean {
  try {
    findRoute('GET', path)
    return true
  } catch {
    return false
  }
}

/** Before the process is killed it has been told, and has had its time. */
function checkTime({ pod }: Workload, { lifecycle }: V1Container, config: ClusterConfig): string[] {
  const graceSeconds = pod.terminationGracePeriodSeconds ?? 30
  const waitSeconds = lifecycle?.preStop?.sleep?.seconds ?? 0
  const allSeconds = waitSeconds + config.drainSeconds
  return allSeconds < graceSeconds
    ? []
    : [`preStop ${waitSeconds} s and drain ${config.drainSeconds} s: want less than the grace of ${graceSeconds} s`]
}

/** NATS: its configuration asks for variables, and says how long it takes to leave. */
function checkForeign({ pod, containers }: Workload, objects: readonly Manifest[]): string[] {
  const used = new Set(
    pod.volumes?.flatMap(
      ({ projected }) => projected?.sources?.flatMap(({ configMap }) => configMap?.name ?? []) ?? [],
    ),
  )
  const maps = ofKind<Typed<V1ConfigMap>>(objects, 'ConfigMap').filter(({ metadata }) => used.has(metadata.name ?? ''))
  const text = maps
    .flatMap(({ data = {} }) => Object.values(data))
    .join('\n')
    .replace(/#.*/g, '')
  if (text === '') return []
  const asked = [...text.matchAll(/\$([A-Z][A-Z0-9_]*)\b/g)].map(([, name = '']) => name)
  const defined = [...text.matchAll(/^\s*([A-Z][A-Z0-9_]*) *=/gm)].map(([, name = '']) => name)
  const given = containers.flatMap(({ env = [] }) => env.map(({ name }) => name))
  const ofItsRuntime = ['GOMEMLIMIT', 'GOMAXPROCS']
  const seconds = (name: string): number => Number(new RegExp(`${name}: "(\\d+)s"`).exec(text)?.[1] ?? 0)
  const leaves = seconds('lame_duck_duration') + seconds('lame_duck_grace_period')
  const graceSeconds = pod.terminationGracePeriodSeconds ?? 30
  return [
    ...asked
      .filter((name) => name !== 'JS' && name !== 'SRV' && ![...defined, ...given].includes(name))
      .map((name) => `its configuration asks for ${name}, which it is not given`),
    ...given
      .filter((name) => !asked.includes(name) && !ofItsRuntime.includes(name))
      .map((name) => `its configuration does not ask for ${name}`),
    ...(leaves < graceSeconds ? [] : [`lame duck ${leaves} s: want less than the grace of ${graceSeconds} s`]),
  ]
}
