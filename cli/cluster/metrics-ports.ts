// Decides where each service of a cluster answers `/metrics`: nothing said, any free port, and routers at their HTTP doors
// alone; a port, that one and those after it, in the order in which services are started.

import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Role } from '../../lib/wire/messages.js'

const LAST_PORT = 65_535

/** The setting of the next service; a service that is started again keeps its own. */
export function metricsPorts({ metricsPort: first }: ClusterConfig): (role: Role) => ClusterConfig['metricsPort'] {
  let next = first
  return (role) => {
    if (next === undefined) return role === 'router' ? 'off' : 0
    if (next === 'off' || next === 0) return next
    if (next > LAST_PORT) return 0
    return next++
  }
}
