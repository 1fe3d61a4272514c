// Where a pod goes, and whether it may go away.

import type { V1PodDisruptionBudget } from '@kubernetes/client-node'
import { ofKind, selects, type Manifest, type Typed, type Workload } from '../manifests.js'
import type { Pod } from './pod.js'

export interface Node {
  readonly name: string
  isCordoned: boolean
}

/** The emptiest open node that the workload's affinity allows; undefined: the pod waits for one. */
export function chooseNode(workload: Workload, nodes: readonly Node[], pods: readonly Pod[]): string | undefined {
  const rules = workload.pod.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []
  const isAllowed = ({ name, isCordoned }: Node): boolean =>
    !isCordoned &&
    rules.every(({ labelSelector }) =>
      pods.every((pod) => pod.node !== name || !selects(labelSelector?.matchLabels, pod.labels)),
    )
  const numOn = (name: string): number =>
    pods.reduce((sum, pod) => sum + (pod.node !== name ? 0 : pod.workload === workload ? 100 : 1), 0) // spread by workload first
  return nodes
    .filter(isAllowed)
    .map(({ name }) => name)
    .sort((a, b) => numOn(a) - numOn(b))[0]
}

/** Whether one more of its pods may be unavailable, by the budget that selects them. */
export function mayEvict(pod: Pod, pods: readonly Pod[], wanted: number, objects: readonly Manifest[]): boolean {
  const budgets = ofKind<Typed<V1PodDisruptionBudget>>(objects, 'PodDisruptionBudget')
  const budget = budgets.find(({ spec }) => selects(spec?.selector?.matchLabels, pod.labels))
  const { maxUnavailable, unhealthyPodEvictionPolicy } = budget?.spec ?? {}
  if (budget === undefined) return true
  if (typeof maxUnavailable !== 'number') throw new Error('want a number of pods that may be unavailable')
  const numHealthy = pods.filter(({ workload, isReady }) => workload === pod.workload && isReady).length
  if (!pod.isReady) return unhealthyPodEvictionPolicy === 'AlwaysAllow' || wanted - numHealthy <= maxUnavailable
  return wanted - numHealthy < maxUnavailable
}
