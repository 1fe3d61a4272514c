// A real nats-server that runs a configuration of the repository, on a free port, with folders of its own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { findNatsServer } from '../../lib/transport/nats-server.js'
import { eventually } from './eventually.js'

export interface ConfiguredNats {
  readonly address: string // host:port
  stop(): Promise<void>
}

/** `words` come last on the command line: what they say of ports and routes holds. Relative paths are seen from the file. */
export async function startConfiguredNats(
  file: string,
  env: Readonly<Record<string, string>> = {},
  words: readonly string[] = [],
): Promise<ConfiguredNats> {
  const found = await findNatsServer({
    binary: process.env.BANYAN_NATS_SERVER,
    path: process.env.PATH ?? '',
    cacheFolder: process.env.BANYAN_CACHE ?? join(homedir(), '.cache', 'banyan'),
    mayFetch: true,
  })
  if (found === undefined) throw new Error('these tests use a real nats-server: install it, or set BANYAN_NATS_SERVER')
  const folder = mkdtempSync(join(tmpdir(), 'banyan-nats-'))
  const place = ['-a', '127.0.0.1', '-p', '-1', '--ports_file_dir', folder, '-sd', join(folder, 'jetstream')]
  const server = spawn(found.binary, ['-c', file, ...place, ...words], {
    cwd: dirname(file),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  server.stderr.on('data', (data: Buffer) => (said += data.toString()))
  const gone = once(server, 'exit')
  const portOf = (): string | undefined => {
    const ports = readdirSync(folder).find((name) => name.endsWith('.ports'))
    return ports && /:\/\/([\d.]+:\d+)/.exec(readFileSync(join(folder, ports), 'utf8'))?.[1]
  }
  const stop = async (): Promise<void> => {
    server.kill('SIGTERM')
    await gone
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await eventually(() => portOf() !== undefined || server.exitCode !== null, 'nats-server runs', 10_000)
    const address = portOf()
    if (address === undefined) throw new Error(`nats-server: ${said}`)
    return { address, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
