// Decides where each service of a cluster answers `/metrics`: nothing said, any free port, and routers at their HTTP doors
// alone; a port, that one and those after it, in the order in which services are first started.

import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Role } from '../../lib/wire/messages.js'

const LAST_PORT = 65_535

type MetricsPort = ClusterConfig['metricsPort']

/** The setting of a service; one that is started again, or takes the place of one that has left, gets the same. */
export function metricsPorts({ metricsPort: first }: ClusterConfig): (role: Role, index: number) => MetricsPort {
  if (first === undefined) return (role) => (role === 'router' ? 'off' : 0)
  if (first === 'off' || first === 0) return () => first
  const given = new Map<string, number>()
  return (role, index) => {
    const place = `${role}-${index}`
    const port = given.get(place) ?? first + given.size
    given.set(place, port)
    return port > LAST_PORT ? 0 : port
  }
}
