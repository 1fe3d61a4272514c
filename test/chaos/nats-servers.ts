// NATS servers of a case's own, one or three in a cluster, that it can kill and start again with their store or without.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardProcess, type Guard } from '../../cli/cluster/guard-process.js'
import { freePorts } from '../helpers/free-ports.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'

export interface ChaosNats {
  readonly url: string // of all, with commas
  readonly ports: readonly number[]
  kill(server: number): Promise<void>
  /** At the port it had. */
  start(server: number, how?: { readonly withoutStore: boolean }): Promise<void>
  close(): Promise<void>
}

export async function startChaosNats(numServers: 1 | 3, storeBytes?: number): Promise<ChaosNats> {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-chaos-nats-'))
  const ports = await freePorts(numServers)
  const routes = numServers === 1 ? [] : await freePorts(numServers)
  const running = new Map<number, { readonly server: TestNats; readonly guard: Guard }>()

  const start: ChaosNats['start'] = async (index, { withoutStore } = { withoutStore: false }) => {
    const storeFolder = join(folder, `${index}`)
    if (withoutStore) rmSync(storeFolder, { recursive: true, force: true })
    mkdirSync(storeFolder, { recursive: true })
    const settings = [
      ...clusterSettings(routes, index),
      ...(storeBytes === undefined ? [] : [boundedStore(storeFolder, storeBytes)]),
    ]
    const server = await startNatsForTest({ port: ports[index] ?? 0, storeFolder, settings })
    running.set(index, { server, guard: guardProcess(server.pid) }) // it never outlives this process
  }

  const kill = async (index: number): Promise<void> => {
    const killed = running.get(index)
    if (killed === undefined) return
    running.delete(index)
    process.kill(killed.server.pid, 'SIGKILL')
    await killed.server.stop()
    await killed.guard.dismiss()
  }

  await Promise.all(ports.map((_, index) => start(index)))
  return {
    url: ports.map((port) => `nats://127.0.0.1:${port}`).join(','),
    ports,
    kill,
    start,
    close: async () => {
      await Promise.all(ports.map((_, index) => kill(index)))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Takes the place of the same block without a bound. */
const boundedStore = (folder: string, bytes: number): string =>
  `jetstream { store_dir: ${JSON.stringify(folder)}, max_file_store: ${bytes} }`

/** Lines that make several servers one cluster. */
function clusterSettings(routes: readonly number[], index: number): string[] {
  if (routes.length === 0) return []
  const all = routes.map((route) => `nats://127.0.0.1:${route}`).join(', ')
  return [
    `server_name: n${index}`,
    `cluster { name: chaos, listen: "127.0.0.1:${routes[index] ?? 0}", routes: [${all}] }`,
  ]
}
