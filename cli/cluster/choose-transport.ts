// Decides what the cluster's messages travel on, and says why in one line. The order: what was asked for, a named
// server, a server binary to be had, else the local transport.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { journalFolder } from '../../lib/config/open-journal.js'
import type { ResolvedConfig } from '../../lib/config/resolve.js'
import { ClusterError } from '../../lib/errors.js'
import type { Logger } from '../../lib/config/service.js'
import { findNatsServer, type FoundServer } from '../../lib/transport/nats-server.js'
import { startPrivateNats, type PrivateNatsOptions } from './private-nats.js'

export type ChosenTransport =
  | { readonly kind: 'local'; readonly reason: string }
  | {
      readonly kind: 'nats'
      readonly url: string
      readonly reason: string
      readonly isShared: boolean
      stop(): Promise<void>
    }

export interface TransportContext {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Told before something that takes long. */
  readonly notify: (line: string) => void
}

interface ChooseContext extends TransportContext {
  readonly logger: Logger
}

export const INSTALL_HINT =
  'install it (Debian, Ubuntu: apt-get install nats-server; macOS: brew install nats-server), name a binary with BANYAN_NATS_SERVER or a running server with NATS_URL'

/** Starts a private nats-server where one is wanted and none is named. Throws `failed_precondition` with instructions. */
export async function chooseTransport(
  { config, origins }: ResolvedConfig,
  context: ChooseContext,
): Promise<ChosenTransport> {
  if (config.transport === 'local') return { kind: 'local', reason: 'asked for' }
  if (config.nats !== undefined) {
    return {
      kind: 'nats',
      url: config.nats,
      reason: `named by ${origins.nats}`,
      isShared: true,
      stop: () => Promise.resolve(),
    }
  }
  const found = await findServer(context, config.transport === 'nats')
  if (found !== undefined) {
    const storeFolder = journalFolder(config.journal)
    return startPrivate(found, { isAsked: config.transport === 'nats', logger: context.logger, storeFolder })
  }
  if (config.transport === 'auto') return { kind: 'local', reason: `no nats-server here; ${INSTALL_HINT}` }
  throw new ClusterError('failed_precondition', 'transport nats: want a nats-server, found none', {
    details: { reason: 'NO_NATS_SERVER', hint: INSTALL_HINT },
  })
}

export const cacheFolder = (env: TransportContext['env']): string =>
  env.BANYAN_CACHE ?? join(homedir(), '.cache', 'banyan')

/** BANYAN_NATS_SERVER, PATH, the cache; where it is asked for, the system's package is unpacked into the cache. */
export async function findServer(
  { env, notify }: TransportContext,
  mayFetch: boolean,
): Promise<FoundServer | undefined> {
  const where = { binary: env.BANYAN_NATS_SERVER, path: env.PATH ?? '', cacheFolder: cacheFolder(env) }
  const found = await findNatsServer({ ...where, mayFetch: false })
  if (found !== undefined || !mayFetch) return found
  notify('no nats-server here: unpacking the system’s package into the cache, once')
  return findNatsServer({ ...where, mayFetch: true })
}

async function startPrivate(
  { binary, origin }: FoundServer,
  { isAsked, ...options }: Omit<PrivateNatsOptions, 'binary'> & { readonly isAsked: boolean },
): Promise<ChosenTransport> {
  try {
    const { url, stop } = await startPrivateNats({ binary, ...options })
    return { kind: 'nats', url, reason: `private server, ${describeOrigin(origin)} ${binary}`, isShared: false, stop }
  } catch (error) {
    if (isAsked) throw error
    return { kind: 'local', reason: ClusterError.from(error).message }
  }
}

export function describeOrigin(origin: FoundServer['origin']): string {
  const words = { given: 'BANYAN_NATS_SERVER', path: 'found at', cache: 'our cached copy' }
  return words[origin]
}
