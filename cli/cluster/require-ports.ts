// Whether the doors can be opened is asked before a model is loaded for them.

import { once } from 'node:events'
import { createServer } from 'node:net'
import type { ClusterConfig } from '../../lib/config/schema.js'
import { ClusterError } from '../../lib/errors.js'
import { routerPorts } from './router-ports.js'

type Doors = Pick<ClusterConfig, 'host' | 'http' | 'grpc' | 'routers'>

/** Throws `failed_precondition` naming the port that cannot be had, and why. */
export async function requirePorts(config: Doors): Promise<void> {
  const { host, routers } = config
  const wanted = Array.from({ length: routers }, (_, i) => Object.entries(routerPorts(config, i))).flat()
  for (const [flag, port] of wanted) {
    if (port === 0) continue // any that is free
    const probe = createServer()
    try {
      await once(probe.listen(port, host), 'listening')
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException // of `listen`
      const isTaken = code === 'EADDRINUSE'
      const why = isTaken ? 'another process listens there' : message
      const hint = `${isTaken ? 'end it, or ' : ''}choose another with --${flag} (0 takes a free one)`
      const what = `--${flag} ${port} on ${host}: want a port of its own, but ${why}`
      throw new ClusterError('failed_precondition', what, { cause: error, details: { reason: 'NO_PORT', hint } })
    }
    await new Promise((resolve) => probe.close(resolve))
  }
}
