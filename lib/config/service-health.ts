// What a service tells of itself: its series, and its heartbeats. Whoever looks at its process alone is told the same.

import { startHeartbeat, type HeartbeatTimer } from '../actor/heartbeat.js'
import { createMetricsRegistry, type MetricsRegistry } from '../metrics/registry.js'
import { modelName } from '../model/model-name.js'
import type { Body } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import type { ModelOptions, ServiceDeps } from './service.js'

/** Where a service's series go. */
export const registryOf = ({ monitor }: ServiceDeps, model: ModelOptions): MetricsRegistry =>
  monitor?.registry ?? createMetricsRegistry(modelName(model.path))

/** `isServing` narrows what `ready` means, where a service needs others to serve. */
export function startServiceHeartbeat(
  { system, transport, cluster, node, monitor, keptTraces }: ServiceDeps,
  describe: () => Body<'worker.heartbeat'>,
  isServing: () => boolean = () => true,
): HeartbeatTimer {
  monitor?.watch(() => {
    const heartbeat = describe()
    return { isReady: heartbeat.state === 'ready' && transport.usage().isConnected && isServing(), heartbeat }
  })
  const metrics = monitor?.url
  const subject = subjects.health(cluster)
  const stopListening =
    keptTraces && system.listen(subject, 'worker.heartbeat', ({ kept }) => kept && keptTraces.keep(kept))
  const timer = startHeartbeat(system, subject, () => {
    const kept = keptTraces?.decided() ?? []
    return {
      ...describe(),
      ...(node !== undefined && { node }),
      ...(metrics !== undefined && { metrics }),
      ...(kept.length > 0 && { kept: [...kept] }),
    }
  })
  return {
    beat: timer.beat,
    stop: () => {
      timer.stop()
      stopListening?.()
    },
  }
}
