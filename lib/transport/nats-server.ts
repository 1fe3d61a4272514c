// Finds a nats-server binary and runs a private one on a free loopback port.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ClusterError } from '../errors.js'

const run = promisify(execFile)
const START_TIMEOUT_MS = 10_000
const FETCH_TIMEOUT_MS = 120_000
export const MAX_PAYLOAD_BYTES = 8 * 1024 * 1024

export interface FindOptions {
  readonly binary?: string | undefined // BANYAN_NATS_SERVER
  readonly path: string // PATH
  readonly cacheFolder: string
  /** Unpack the system's package into the cache where nothing else is found (no root needed). */
  readonly mayFetch: boolean
}

export interface FoundServer {
  readonly binary: string
  readonly origin: 'given' | 'path' | 'cache'
}

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Looks at the given binary, PATH, the system folders and the cache; undefined where there is none. */
export async function findNatsServer(options: FindOptions): Promise<FoundServer | undefined> {
  if (options.binary !== undefined && options.binary !== '') {
    if (isExecutable(options.binary)) return { binary: options.binary, origin: 'given' }
    throw new ClusterError('invalid_argument', `nats-server: ${options.binary} is not an executable file`)
  }
  const folders = [
    ...options.path.split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    '/usr/local/bin',
    '/opt/homebrew/bin',
  ]
  const onPath = folders.map((folder) => join(folder, 'nats-server')).find(isExecutable)
  if (onPath !== undefined) return { binary: onPath, origin: 'path' }
  const cached = join(options.cacheFolder, 'nats-server', 'usr', 'sbin', 'nats-server')
  if (!isExecutable(cached) && options.mayFetch)
    await unpackPackage(join(options.cacheFolder, 'nats-server')).catch(() => undefined)
  return isExecutable(cached) ? { binary: cached, origin: 'cache' } : undefined
}

/** Downloads the distribution's own package with lists and caches of ours, and unpacks it: nothing of the system changes. */
async function unpackPackage(folder: string): Promise<void> {
  const lists = join(folder, 'lists')
  const archives = join(folder, 'archives')
  for (const path of [join(lists, 'partial'), join(archives, 'partial')]) mkdirSync(path, { recursive: true })
  const options = [
    '-o',
    `Dir::State::lists=${lists}`,
    '-o',
    `Dir::Cache=${archives}`,
    '-o',
    'APT::Sandbox::User=root',
    '-qq',
  ]
  const limits = { cwd: folder, timeout: FETCH_TIMEOUT_MS }
  await run('apt-get', [...options, 'update'], limits)
  await run('apt-get', [...options, 'download', 'nats-server'], limits)
  const archive = readdirSync(folder).find((name) => name.startsWith('nats-server_') && name.endsWith('.deb'))
  if (archive !== undefined) await run('dpkg-deb', ['-x', archive, '.'], limits)
  rmSync(lists, { recursive: true, force: true })
  rmSync(archives, { recursive: true, force: true })
}

export interface NatsServer {
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

export interface ServerOptions {
  readonly binary: string
  readonly storeFolder?: string | undefined // where JetStream keeps its streams; absent: no JetStream
  readonly port?: number // a free one when absent
  readonly settings?: readonly string[] // more lines of the server's configuration
}

/** Starts a server of our own and waits until it accepts. Throws `unavailable` with its last words. */
export async function startNatsServer({
  binary,
  storeFolder,
  port = -1,
  settings = [],
}: ServerOptions): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-nats-'))
  const config = [
    `listen: "127.0.0.1:${port}"`,
    `ports_file_dir: "${folder}"`,
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    'max_pending: 256MB',
    ...(storeFolder === undefined ? [] : [`jetstream { store_dir: ${JSON.stringify(storeFolder)} }`]),
    ...settings,
  ]
  writeFileSync(join(folder, 'server.conf'), config.join('\n'))
  // A process group of its own: a terminal's Ctrl-C reaches only us, and we stop the server after the services left.
  const child = spawn(binary, ['-c', join(folder, 'server.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  let words = ''
  child.stderr.on('data', (data: Buffer) => {
    words = (words + data.toString()).slice(-2_000)
  })
  const killWithUs = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithUs)
  const stop = async (): Promise<void> => {
    process.removeListener('exit', killWithUs)
    await stopChild(child)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    return { url: await waitForPort(child, folder), pid: child.pid ?? 0, stop }
  } catch (error) {
    await stop()
    throw new ClusterError('unavailable', `nats-server did not start: ${words.trim().split('\n').at(-1) ?? ''}`, {
      cause: error,
    })
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const isGone = await Promise.race([exited.then(() => true), sleep(2_000, false, { ref: false })])
  if (isGone) return
  child.kill('SIGKILL')
  await exited
}

async function waitForPort(child: ChildProcess, folder: string): Promise<string> {
  let failure: unknown
  child.once('error', (error) => {
    failure = error
  })
  for (const giveUp = Date.now() + START_TIMEOUT_MS; Date.now() < giveUp; await sleep(5)) {
    if (failure !== undefined || child.exitCode !== null) throw new Error('it exited at once', { cause: failure })
    const url = readPorts(folder)
    if (url !== undefined && (await accepts(url))) return url
  }
  throw new Error(`not ready within ${START_TIMEOUT_MS} ms`)
}

function readPorts(folder: string): string | undefined {
  const file = readdirSync(folder).find((name) => name.endsWith('.ports'))
  if (file === undefined || !existsSync(join(folder, file))) return undefined
  return /nats:\/\/[\d.]+:\d+/.exec(readFileSync(join(folder, file), 'utf8'))?.[0]
}

function accepts(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = createConnection({ host: hostname, port: Number(port) })
    const done = (value: boolean): void => {
      socket.destroy()
      resolve(value)
    }
    socket.once('connect', () => done(true)).once('error', () => done(false))
  })
}
