// A Service as kube-proxy makes it: an address whose connections go to ready pods in turn, and stay where they went.

import type { V1Service } from '@kubernetes/client-node'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { portOf, selects, type Typed } from '../manifests.js'
import type { Pod } from './pod.js'

export interface ServiceProxy {
  readonly address: string // without a port
  close(): Promise<void>
}

/** `pods`: all that there are now. A headless one gets an address as others do. */
export async function startService(
  service: Typed<V1Service>,
  address: string,
  pods: () => readonly Pod[],
): Promise<ServiceProxy> {
  const sockets = new Set<Socket>()
  let turn = 0
  const endpoints = (): readonly Pod[] =>
    pods().filter((pod) => pod.isReady && !pod.isLeaving && selects(service.spec?.selector, pod.labels))

  const open = ({ port, targetPort = port }: { port: number; targetPort?: unknown }): Promise<Server> => {
    const server = createServer((client) => {
      const ready = endpoints()
      const pod = ready[(turn += 1) % ready.length]
      if (pod === undefined) {
        client.destroy()
        return
      }
      const there = connect(portOf(pod.workload, targetPort) ?? 0, pod.ip)
      join(client, there, sockets)
    })
    return new Promise((resolve, reject) => {
      server.once('error', reject).listen(port, address, () => resolve(server))
    })
  }
  const servers = await Promise.all((service.spec?.ports ?? []).map(open))
  return {
    address,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    },
  }
}

function join(client: Socket, there: Socket, sockets: Set<Socket>): void {
  const both = [client, there]
  for (const [from, to] of [both, [there, client]] as [Socket, Socket][]) {
    sockets.add(from)
    from.setNoDelay(true)
    from.pipe(to)
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }
}
