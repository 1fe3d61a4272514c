// NATS servers of a case's own, one or three in a cluster, that it can kill and start again with their store or without.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardProcess, type Guard } from '../../cli/cluster/guard-process.js'
import { MAX_PAYLOAD_BYTES } from '../../lib/transport/nats-server.js'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import { findNatsForTest } from '../helpers/nats.js'

export interface ChaosNats {
  readonly url: string // of all, with commas
  readonly ports: readonly number[]
  readonly pids: readonly number[]
  kill(server: number): Promise<void>
  /** At the port it had. */
  start(server: number, how?: { readonly withoutStore: boolean }): Promise<void>
  close(): Promise<void>
}

export async function startChaosNats(numServers: 1 | 3, storeBytes?: number): Promise<ChaosNats> {
  const binary = await findNatsForTest()
  const folder = mkdtempSync(join(tmpdir(), 'banyan-chaos-nats-'))
  const ports = await freePorts(numServers)
  const routes = numServers === 1 ? [] : await freePorts(numServers)
  const children: ChildProcess[] = []
  const guards: Guard[] = [] // no server outlives this process, also where it is interrupted

  const start: ChaosNats['start'] = async (server, { withoutStore } = { withoutStore: false }) => {
    const own = join(folder, `${server}`)
    if (withoutStore) rmSync(own, { recursive: true, force: true })
    mkdirSync(own, { recursive: true })
    const file = join(own, 'server.conf')
    writeFileSync(
      file,
      serverConfig({ name: `n${server}`, port: ports[server] ?? 0, store: own, routes, server, storeBytes }),
    )
    const child = spawn(binary, ['-c', file], { stdio: 'ignore' })
    children[server] = child
    guards[server] = guardProcess(child.pid ?? 0)
    await eventually(() => accepts(ports[server] ?? 0), `nats-server ${server} accepts`, 15_000)
  }

  const kill = async (server: number): Promise<void> => {
    const child = children[server]
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    await guards[server]?.dismiss()
  }

  await Promise.all(ports.map((_, server) => start(server)))
  return {
    url: ports.map((port) => `nats://127.0.0.1:${port}`).join(','),
    ports,
    get pids() {
      return children.map(({ pid }) => pid ?? 0)
    },
    kill,
    start,
    close: async () => {
      await Promise.all(ports.map((_, server) => kill(server)))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

interface ServerConfig {
  readonly name: string
  readonly port: number
  readonly store: string
  readonly routes: readonly number[] // ports at which the servers of a cluster reach each other
  readonly server: number
  readonly storeBytes: number | undefined
}

function serverConfig({ name, port, store, routes, server, storeBytes }: ServerConfig): string {
  const others = routes.map((route) => `nats://127.0.0.1:${route}`).join(', ')
  return [
    `server_name: ${name}`,
    `listen: "127.0.0.1:${port}"`,
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    'max_pending: 256MB',
    `jetstream { store_dir: "${store}"${storeBytes === undefined ? '' : `, max_file_store: ${storeBytes}`} }`,
    ...(routes.length === 0
      ? []
      : [`cluster { name: chaos, listen: "127.0.0.1:${routes[server] ?? 0}", routes: [${others}] }`]),
  ].join('\n')
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
