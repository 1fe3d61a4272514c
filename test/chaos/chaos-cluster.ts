// A cluster to be broken: `banyan up` as a real process tree on a NATS server, where a case wants it with one more
// service that reaches that server through a proxy. Knows who runs, and whether all is as it was asked for.

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardProcess } from '../../cli/cluster/guard-process.js'
import type { Role } from '../../lib/wire/messages.js'
import { startCli, type CliCluster, type Outcome, type RunningCli } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import type { DoorAddresses } from './doors.js'
import { startChaosNats, type ChaosNats } from './nats-servers.js'
import { familyOf, watchProcesses, type ProcessWatch } from './process-table.js'
import { fetchStatus, unsettled, type Asked, type ProcessRow } from './status.js'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js'
import { startUp, type Up } from './up.js'
import { createBent, type Bent } from './bent.js'

const READY_TIMEOUT_MS = 120_000
const SETTLE_TIMEOUT_MS = 90_000
const GONE_TIMEOUT_MS = 10_000

export interface ChaosShape extends Asked {
  readonly nats: 'private' | 'own' | 'three' | 'none' // none: all services in one process, with a journal in a folder
  readonly storeBytes?: number // of the case's own NATS server
  readonly apart?: Role // one of these reaches NATS through a proxy
  readonly links: boolean // direct connections between services; without, everything goes through NATS
  readonly isBent?: boolean // its processes' surroundings can be bent
  readonly flags?: readonly string[]
}

export interface ChaosCluster {
  readonly shape: ChaosShape
  readonly addresses: DoorAddresses
  readonly up: Up
  readonly nats: ChaosNats | undefined // absent: `up` has a private one
  readonly proxy: TcpProxy | undefined
  readonly bent: Bent | undefined
  readonly apartId: string | undefined // of the service behind the proxy
  readonly watch: ProcessWatch
  /** All rows, by the first router that answers. */
  rows(): Promise<readonly ProcessRow[]>
  /** Those of one role that serve, ascending id. */
  ready(role: Role): Promise<readonly ProcessRow[]>
  /** `up`'s own; undefined while there is none. */
  privateNats(): { readonly id: string; readonly pid: number } | undefined
  /** Waits until every router sees all that was asked for and nothing runs. Throws what is missing. */
  settled(): Promise<void>
  /** Ends all; resolves with how `up` ended and with the processes that are still there. */
  end(): Promise<{ readonly outcome: Outcome; readonly orphans: readonly string[] }>
}

type Closer = () => Promise<unknown>

/** Nothing outlives this process, also where it is interrupted. Returns what ends the guard. */
function guarded(pid: number): () => Promise<void> {
  const guard = guardProcess(pid)
  return () => guard.dismiss()
}

interface Place {
  readonly name: string
  readonly nats: ChaosNats | undefined
  readonly folder: string
}

async function upFlags(shape: ChaosShape, { name, nats, folder }: Place): Promise<string[]> {
  const count = (role: Role, asked: number): string => String(asked - Number(shape.apart === role))
  const [http, grpc] = await freePorts(2)
  const alone = ['--transport', 'local', '--journal', folder, '--http', String(http), '--grpc', String(grpc)]
  return [
    ...(shape.nats === 'none' ? alone : ['--transport', 'nats', '--cluster', name]),
    ...['--routers', count('router', shape.routers), '--attention', count('attention', shape.attention)],
    ...['--experts', count('expert-worker', shape.experts), '--replicas', String(shape.replicas)],
    ...['--drafters', count('drafter', shape.drafters)],
    ...(nats === undefined ? [] : ['--nats', nats.url]),
    ...(shape.links ? [] : ['--link-host', 'off']),
    ...(shape.flags ?? []),
  ]
}

export async function startChaosCluster(shape: ChaosShape): Promise<ChaosCluster> {
  const name = `chaos-${randomUUID().slice(0, 8)}`
  const folder = mkdtempSync(join(tmpdir(), 'banyan-chaos-'))
  const closers: Closer[] = [async () => rmSync(folder, { recursive: true, force: true })]
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const nats = await startNatsFor(shape)
    if (nats !== undefined) closers.push(() => nats.close())
    const bent = shape.isBent === true ? createBent() : undefined
    if (bent !== undefined) closers.push(async () => bent.close())
    const words = await upFlags(shape, { name, nats, folder })
    const up = await startUp(words, { env: bent?.env ?? {}, readyTimeoutMs: READY_TIMEOUT_MS })
    closers.push(() => up.end())
    const apart = shape.apart && nats && (await startApart({ role: shape.apart, shape, name, nats, closers }))
    const cluster = describe({ shape, up, nats, apart, bent, closeAll })
    await cluster.settled()
    return cluster
  } catch (error) {
    await closeAll()
    throw error
  }
}

async function startNatsFor({ nats, apart, storeBytes }: ChaosShape): Promise<ChaosNats | undefined> {
  if (nats === 'none' || (nats === 'private' && apart === undefined)) return undefined
  return startChaosNats(nats === 'three' ? 3 : 1, storeBytes)
}

interface Apart {
  readonly id: string
  readonly proxy: TcpProxy
  readonly service: RunningCli
  readonly ports: { readonly http: number; readonly grpc: number } // of a router
}

interface ApartOptions {
  readonly role: Role
  readonly shape: ChaosShape
  readonly name: string
  readonly nats: ChaosNats
  readonly closers: Closer[]
}

async function startApart({ role, shape, name, nats, closers }: ApartOptions): Promise<Apart> {
  const [port = 0] = nats.ports
  const proxy = await startTcpProxy({ target: { host: '127.0.0.1', port }, random: Math.random })
  closers.push(() => proxy.close())
  const id = `${role}-apart`
  const [http = 0, grpc = 0] = await freePorts(2)
  const service = startCli(['serve', role], {
    env: {
      NATS_URL: `nats://127.0.0.1:${proxy.port}`,
      BANYAN_ID: id,
      BANYAN_CLUSTER: name,
      BANYAN_LINK_HOST: shape.links ? '127.0.0.1' : 'off',
      BANYAN_HTTP: String(http),
      BANYAN_GRPC: String(grpc),
      BANYAN_ATTENTION: String(shape.attention),
      BANYAN_EXPERTS: String(shape.experts),
      BANYAN_REPLICAS: String(shape.replicas),
      BANYAN_THREADS: '1',
    },
  })
  const end = (): Promise<Outcome> => {
    service.child.kill('SIGTERM')
    return service.outcome
  }
  closers.push(end, guarded(service.pid))
  return { id, proxy, service, ports: { http, grpc } }
}

interface Parts {
  readonly shape: ChaosShape
  readonly up: Up
  readonly nats: ChaosNats | undefined
  readonly apart: Apart | undefined
  readonly bent: Bent | undefined
  readonly closeAll: () => Promise<void>
}

function describe({ shape, up, nats, apart, bent, closeAll }: Parts): ChaosCluster {
  const watch = watchProcesses(() => [up.cli.pid, ...(apart ? [apart.service.pid] : [])])
  const addresses = addressesOf(up.cli, shape.apart === 'router' ? apart : undefined)
  const settled = async (): Promise<void> => {
    let missing = ''
    const isSettled = async (): Promise<boolean> => {
      const found = await Promise.all(addresses.http.map(async (url) => unsettled(await fetchStatus(url), shape)))
      missing = found.filter((words) => words !== '').join('; ')
      return missing === ''
    }
    await eventually(isSettled, 'all is settled', SETTLE_TIMEOUT_MS).catch((error: unknown) => {
      throw new Error(`not settled within ${SETTLE_TIMEOUT_MS} ms: ${missing}`, { cause: error })
    })
  }
  const rows = async (): Promise<readonly ProcessRow[]> => {
    const all = await Promise.all(addresses.http.map(fetchStatus))
    return all.find((status) => status !== undefined)?.processes ?? []
  }
  return {
    shape,
    addresses,
    up,
    nats,
    proxy: apart?.proxy,
    bent,
    apartId: apart?.id,
    watch,
    settled,
    rows,
    ready: async (role) =>
      (await rows()).filter((row) => row.role === role && row.state === 'ready').sort((a, b) => (a.id < b.id ? -1 : 1)),
    privateNats: () => {
      const server = familyOf(up.cli.pid).find(({ command }) => command.startsWith('nats-server'))
      return server && { id: 'nats-server', pid: server.pid }
    },
    end: async () => {
      const outcome = await up.end() // first: what is behind the proxy drains with it
      await closeAll()
      await eventually(() => watch.alive().length === 0, 'all are gone', GONE_TIMEOUT_MS).catch(() => undefined)
      watch.stop()
      return { outcome, orphans: watch.alive().map(({ pid, command }) => `${command} (${pid})`) }
    },
  }
}

function addressesOf({ ready }: CliCluster, router: Apart | undefined): DoorAddresses {
  const { http, grpc } = router?.ports ?? {}
  const apart = router === undefined ? [] : [{ http: `http://127.0.0.1:${http}`, grpc: `127.0.0.1:${grpc}` }]
  const routers = [...ready.routers, ...apart]
  return { http: routers.map((door) => door.http), grpc: routers.map((door) => door.grpc) }
}
