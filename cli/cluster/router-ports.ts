// Decides where a router listens.

import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Doors } from './supervise.js'

/** Router i is at port + i; one that comes back takes the ports it had. */
export function routerPorts(
  config: Pick<ClusterConfig, 'http' | 'grpc'>,
  index: number,
  before?: Doors,
): { http: number; grpc: number } {
  const shifted = (port: number): number => (port === 0 ? 0 : port + index)
  if (before === undefined) return { http: shifted(config.http), grpc: shifted(config.grpc) }
  const portOf = (door: string): number => Number(door.split(':').at(-1)) // a URL object hides the scheme's own port
  return { http: portOf(before.http), grpc: portOf(before.grpc) }
}
