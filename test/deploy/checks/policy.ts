// What every pod and every overlay must say of itself, whatever else it does.

import type { V1Container, V1NetworkPolicy, V1PodDisruptionBudget, V1Service } from '@kubernetes/client-node'
import {
  NAME_LABEL,
  ofKind,
  OUR_NAME,
  ROLE_LABEL,
  selects,
  titleOf,
  workloads,
  type Manifest,
  type Typed,
  type Workload,
} from '../manifests.js'
import { scalers } from './scalers.js'

export const ROLES = ['router', 'attention', 'expert-worker', 'drafter'] as const
const RIGHTS: ReadonlySet<string> = new Set(['Role', 'ClusterRole', 'RoleBinding', 'ClusterRoleBinding'])

export interface Overlay {
  readonly isForTrial: boolean // `dev`: one of each, nothing scales
}

export function checkPolicy(objects: readonly Manifest[], { isForTrial }: Overlay): string[] {
  return [
    ...objects.filter(({ kind }) => RIGHTS.has(kind)).map((object) => `${titleOf(object)}: no pod needs rights`),
    ...ofKind(objects, 'Namespace').flatMap(checkNamespace),
    ...workloads(objects).flatMap((workload) => [
      ...checkPod(workload),
      ...workload.containers.flatMap((container) => checkContainer(workload, container)),
      ...workload.pod.containers.flatMap((container) => checkServing(workload, container)),
    ]),
    ...ROLES.flatMap((role) => checkRole(role, objects, isForTrial)),
  ]
}

/** Sentences about one thing, for those that do not hold. */
const want = (title: string, rules: Readonly<Record<string, boolean>>): string[] =>
  Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [`${title}: want ${rule}`]))

const checkNamespace = (namespace: Manifest): string[] =>
  want(titleOf(namespace), {
    'pod-security.kubernetes.io/enforce: restricted':
      namespace.metadata.labels?.['pod-security.kubernetes.io/enforce'] === 'restricted',
  })

function checkPod({ title, pod, labels }: Workload): string[] {
  const volumes = pod.volumes ?? []
  return want(title, {
    'a grace period of 1 s or more': (pod.terminationGracePeriodSeconds ?? 0) >= 1,
    'automountServiceAccountToken: false': pod.automountServiceAccountToken === false,
    'a service account of its own': pod.serviceAccountName !== undefined && pod.serviceAccountName !== 'default',
    'nothing of the host': pod.hostNetwork !== true && pod.hostPID !== true && pod.hostIPC !== true,
    'no path of the host': volumes.every(({ hostPath }) => hostPath === undefined),
    'a bound for every emptyDir': volumes.every(
      ({ emptyDir }) => emptyDir === undefined || emptyDir.sizeLimit !== undefined,
    ),
    'no token of a service account': volumes.every(
      ({ projected }) => !projected?.sources?.some(({ serviceAccountToken }) => serviceAccountToken !== undefined),
    ),
    'the label app.kubernetes.io/part-of': labels['app.kubernetes.io/part-of'] === OUR_NAME,
    'no service links': pod.enableServiceLinks === false, // their variables would be read as settings
  })
}

function checkContainer({ title, pod }: Workload, container: V1Container): string[] {
  const { image = '', resources = {}, securityContext: own = {}, ports = [] } = container
  const { limits = {}, requests = {} } = resources
  return want(`${title}, container ${container.name}`, {
    'a user that is not root': (own.runAsNonRoot ?? pod.securityContext?.runAsNonRoot) === true,
    'no user 0': (own.runAsUser ?? pod.securityContext?.runAsUser) !== 0,
    'a read-only root': own.readOnlyRootFilesystem === true,
    'no escalation': own.allowPrivilegeEscalation === false,
    'no privilege': own.privileged !== true,
    'all capabilities dropped, none added':
      own.capabilities?.drop?.includes('ALL') === true && (own.capabilities.add ?? []).length === 0,
    'the seccomp profile RuntimeDefault':
      (own.seccompProfile ?? pod.securityContext?.seccompProfile)?.type === 'RuntimeDefault',
    'an image with a tag that is not latest, or a digest': /@sha256:[0-9a-f]{64}$|:(?!latest$)[\w.-]+$/.test(image),
    'requests of processors and memory': requests.cpu !== undefined && requests.memory !== undefined,
    'a limit of memory': limits.memory !== undefined,
    'no more memory asked for than the limit': bytes(requests.memory) <= bytes(limits.memory),
    'no port of the host': ports.every(({ hostPort }) => hostPort === undefined),
  })
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

function bytes(quantity: string | undefined): number {
  const [, number = '', unit = ''] = /^([\d.]+)(\w*)$/.exec(quantity ?? '') ?? []
  return number === '' ? NaN : Number(number) * (UNITS[unit] ?? NaN)
}

/** Of containers that go on: not of those that prepare a pod. */
function checkServing({ title, labels, isOurs }: Workload, container: V1Container): string[] {
  const { startupProbe, readinessProbe, livenessProbe, args = [], image = '', command } = container
  const role = labels[ROLE_LABEL] ?? ''
  const isService = isOurs && /(^|\/)banyan[:@]/.test(image)
  return want(`${title}, container ${container.name}`, {
    'a startup probe': startupProbe !== undefined,
    'a readiness probe': readinessProbe !== undefined,
    'a liveness probe': livenessProbe !== undefined,
    'other questions for readiness than for liveness':
      JSON.stringify(readinessProbe?.httpGet) !== JSON.stringify(livenessProbe?.httpGet),
    [`args: [serve, ${role}] and the image's own command`]:
      !isService || (args.length === 2 && args[0] === 'serve' && args[1] === role && command === undefined),
  })
}

const isOfRole =
  (role: string) =>
  (selector: Readonly<Record<string, string>> | undefined): boolean =>
    selects(selector, { [NAME_LABEL]: OUR_NAME, [ROLE_LABEL]: role, 'app.kubernetes.io/part-of': OUR_NAME })

/** A role is there, with all that belongs to it. */
function checkRole(role: string, objects: readonly Manifest[], isForTrial: boolean): string[] {
  const workload = workloads(objects).find(({ isOurs, labels }) => isOurs && labels[ROLE_LABEL] === role)
  if (workload === undefined) return [`${role}: want a workload`]
  const { pod, title } = workload
  const takes = isOfRole(role)
  const named = (kind: string) => objects.some((object) => object.kind === kind && object.metadata.name === role)
  const budgets = ofKind<Typed<V1PodDisruptionBudget>>(objects, 'PodDisruptionBudget')
  const policies = ofKind<Typed<V1NetworkPolicy>>(objects, 'NetworkPolicy')
  const services = ofKind<Typed<V1Service>>(objects, 'Service')
  const isSpread = (pod.topologySpreadConstraints ?? []).length > 0 || pod.affinity !== undefined
  const scaled = scalers(objects).filter(({ name, kind }) => name === role && kind === workload.manifest.kind)
  return want(title, {
    'a PodDisruptionBudget': budgets.some(
      ({ spec }) => spec?.selector !== undefined && takes(spec.selector.matchLabels),
    ),
    'a NetworkPolicy of its own': policies.some(({ spec }) => {
      const { matchLabels } = spec?.podSelector ?? {}
      return matchLabels?.[ROLE_LABEL] === role && takes(matchLabels)
    }),
    'a Service': services.some(({ spec }) => spec?.selector !== undefined && takes(spec.selector)),
    [`a ServiceAccount ${role}`]: named('ServiceAccount') && pod.serviceAccountName === role,
    'spreading or affinity': isForTrial || isSpread,
    'an autoscaler': isForTrial || scaled.length === 1,
  })
}
