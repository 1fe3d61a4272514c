// A real nats-server for a test file.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { findNatsServer, startNatsServer, type NatsServer } from '../../lib/transport/nats-server.js'

export type TestNats = NatsServer

/** Starts a private server; fails with an instruction where no binary can be had. */
export async function startNatsForTest(
  options: { readonly jetstream?: boolean; readonly port?: number } = {},
): Promise<TestNats> {
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
  return startNatsServer({ binary: found.binary, ...options })
}
