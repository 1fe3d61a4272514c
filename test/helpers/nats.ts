// A real nats-server for a test file.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { findNatsServer, startNatsServer, type NatsServer } from '../../lib/transport/nats-server.js'

export type TestNats = NatsServer

export interface TestNatsOptions {
  readonly port?: number
  /** Where JetStream keeps its streams; absent: a folder that goes with the server. */
  readonly storeFolder?: string
  readonly jetstream?: boolean // false: none
  readonly settings?: readonly string[]
}

/** Starts a private server; fails with an instruction where no binary can be had. */
export async function startNatsForTest({
  storeFolder,
  jetstream = true,
  ...options
}: TestNatsOptions = {}): Promise<TestNats> {
  const found = await findNatsServer({
    binary: process.env.BANYAN_NATS_SERVER,
    path: process.env.PATH ?? '',
    cacheFolder: process.env.BANYAN_CACHE ?? join(homedir(), '.cache', 'banyan'),
    mayFetch: true,
  })
  if (found === undefined) {
    throw new Error(
      'these tests use a real nats-server: install your system’s nats-server package, or set BANYAN_NATS_SERVER to a binary',
    )
  }
  const { binary } = found
  if (!jetstream || storeFolder !== undefined) return startNatsServer({ binary, storeFolder, ...options })
  const folder = mkdtempSync(join(tmpdir(), 'banyan-jetstream-'))
  const forget = (): void => rmSync(folder, { recursive: true, force: true })
  try {
    const server = await startNatsServer({ binary, storeFolder: folder, ...options })
    return { ...server, stop: () => server.stop().finally(forget) }
  } catch (error) {
    forget()
    throw error
  }
}

/** Several servers that are one cluster; each can be killed by its pid. */
export async function startNatsClusterForTest(numServers: number): Promise<readonly TestNats[]> {
  const ports = await Promise.all(Array.from({ length: numServers }, freePort))
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ')
  return Promise.all(
    ports.map((port, i) =>
      startNatsForTest({
        settings: [
          `server_name: server-${i}`,
          `cluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }`,
        ],
      }),
    ),
  )
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject).listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
