// Three NATS servers as `deploy/k8s/base/nats` makes them of three pods: its configuration as it is, each with its own
// folder and certificate, on loopback.

import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority } from './certificates.js'
import { freePorts } from './free-ports.js'
import { startConfiguredNats } from './nats-config.js'
import { repositoryRoot } from './paths.js'

export interface NatsPod {
  readonly address: string // host:port
  readonly monitor: string // URL
}

export interface NatsPods {
  readonly pods: readonly NatsPod[]
  readonly url: string // of all
  readonly ca: string // PEM file
  stop(): Promise<void>
}

interface Ports {
  readonly client: number
  readonly cluster: number
  readonly monitor: number
}

/** `env`: the passwords that the configuration asks for. */
export async function startNatsPods(env: Readonly<Record<string, string>>): Promise<NatsPods> {
  const authority = createAuthority()
  const closers: (() => unknown)[] = [() => authority.remove()]
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  const free = await freePorts(9)
  const take = (): Ports => ({ client: free.pop() ?? 0, cluster: free.pop() ?? 0, monitor: free.pop() ?? 0 })
  const all = [take(), take(), take()]
  const routes = all.map(({ cluster }) => `tls://127.0.0.1:${cluster}`).join(',')

  const startPod = async ({ client, cluster, monitor }: Ports, index: number): Promise<NatsPod> => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-nats-pod-'))
    closers.push(() => rmSync(folder, { recursive: true, force: true }))
    cpSync(join(repositoryRoot, 'deploy', 'k8s', 'base', 'nats'), folder, { recursive: true })
    const { cert, key } = authority.issue(`nats-${index}`)
    mkdirSync(join(folder, 'tls'))
    cpSync(cert, join(folder, 'tls', 'tls.crt'))
    cpSync(key, join(folder, 'tls', 'tls.key'))
    cpSync(authority.ca, join(folder, 'tls', 'ca.crt'))
    const ports = ['-p', String(client), '-m', String(monitor)]
    const others = ['--cluster', `tls://127.0.0.1:${cluster}`, '--routes', routes]
    const pod = { ...env, POD_NAME: `nats-${index}` }
    const server = await startConfiguredNats(join(folder, 'nats.conf'), pod, [...ports, ...others])
    closers.push(() => server.stop())
    return { address: server.address, monitor: `http://127.0.0.1:${monitor}` }
  }
  try {
    const pods = await Promise.all(all.map(startPod))
    return { pods, url: pods.map(({ address }) => `tls://${address}`).join(','), ca: authority.ca, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
