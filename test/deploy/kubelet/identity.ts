// What a pod is to a cluster, and what stands for the cluster's network and disks on one machine.
//
// Replaced, and nothing else of what the manifests say:
//   - addresses: a pod has one of 127.0.0.0/8, so that all open the ports of their manifests. 0.0.0.0 becomes that one;
//     names of a StatefulSet's pods (nats-0.nats-headless) become theirs, which stay with the name. So does a Service's.
//   - paths: what is mounted at a path is a folder of the test's, and the path's name in variables and words is its.
//   - images: `banyan` is this build, `nats` the server of this machine.
//   - numbers: pods of a role as its autoscaler has them at least; processors asked for are one each.
//   - time: preStop, drain, grace and the periods of probes take a stated part of what they say. Timeouts do not.
// Not there: limits of memory, security contexts, NetworkPolicies, priorities.

import { createServer } from 'node:net'
import type { Labels } from '../manifests.js'

export interface PodIdentity {
  readonly name: string
  readonly ip: string
  readonly node: string
  readonly labels: Labels
}

/** Addresses: pods that have a lasting name keep theirs, others get the next one. */
export function createAddresses(network = 77) {
  const lasting = new Map<string, string>()
  let numGiven = 0
  const next = (): string => {
    numGiven += 1
    return `127.${network}.${Math.floor(numGiven / 250)}.${1 + (numGiven % 250)}`
  }
  return {
    next,
    of: (name: string): string => {
      const known = lasting.get(name) ?? next()
      lasting.set(name, known)
      return known
    },
  }
}

export type Addresses = ReturnType<typeof createAddresses>

/** Whether this machine has all of 127.0.0.0/8 (Linux has; macOS has 127.0.0.1 alone). */
export const hasAddresses = (): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(0, '127.77.0.1', () => server.close(() => resolve(true)))
  })
