// A nats-server of our own that comes back on the same port when it dies, so that every client finds it again.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import { lockFolder } from '../../lib/transport/folder-lock.js'
import { wantFolder } from './want-folder.js'
import { startNatsServer } from '../../lib/transport/nats-server.js'
import { guardProcess } from './guard-process.js'
import { backoffMs } from './supervise.js'

const LOOK_EVERY_MS = 100

export interface PrivateNats {
  readonly url: string
  readonly pid: number // of the server that runs now
  readonly stop: () => Promise<void>
}

interface Guarded {
  readonly url: string
  readonly pid: number
  /** Ends the server where it still runs, and takes its files away. */
  readonly end: () => Promise<void>
}

async function startGuarded(binary: string, store: StoreFolder, port?: number): Promise<Guarded> {
  const server = await startNatsServer({ binary, storeFolder: store.path, ...(port === undefined ? {} : { port }) })
  const guard = guardProcess(server.pid, store.isOurs ? store.path : undefined)
  const end = async (): Promise<void> => {
    await server.stop()
    await guard.dismiss()
  }
  return { url: server.url, pid: server.pid, end }
}

export interface PrivateNatsOptions {
  readonly binary: string
  readonly logger: Logger
  readonly storeFolder?: string | undefined // kept; absent: one that goes with the server
}

interface StoreFolder {
  readonly path: string
  readonly isOurs: boolean // goes with us
  readonly leave: () => void
}

/** Throws `failed_precondition` where another cluster has the folder or nobody can write there. */
function takeFolder(folder: string | undefined): StoreFolder {
  if (folder === undefined) {
    const path = mkdtempSync(join(tmpdir(), 'banyan-jetstream-'))
    return { path, isOurs: true, leave: () => rmSync(path, { recursive: true, force: true }) }
  }
  wantFolder('journal', folder, 0o700)
  return { path: folder, isOurs: false, leave: lockFolder(folder) }
}

/** With JetStream. Throws `unavailable` where the first start fails, `failed_precondition` where the folder is in use or not to be written. */
export async function startPrivateNats({ binary, logger, storeFolder }: PrivateNatsOptions): Promise<PrivateNats> {
  const folder = takeFolder(storeFolder)
  let server: Guarded
  try {
    server = await startGuarded(binary, folder)
  } catch (error) {
    folder.leave()
    throw error
  }
  const { url } = server
  const port = Number(new URL(url).port)
  let numFailures = 0
  let isStopped = false
  let timer: NodeJS.Timeout | undefined
  let restarting = Promise.resolve()

  const restart = async (): Promise<void> => {
    logger.warn({ url, pid: server.pid }, 'nats-server died; it is started again')
    await server.end()
    try {
      server = await startGuarded(binary, folder, port)
      numFailures = 0
    } catch (error) {
      numFailures += 1
      logger.error({ url, error: ClusterError.from(error).message }, 'nats-server could not be started again')
    }
  }

  const look = (): void => {
    if (isStopped) return
    const next = (delayMs: number): void => {
      if (!isStopped) timer = setTimeout(look, delayMs)
    }
    if (isRunning(server.pid)) return next(LOOK_EVERY_MS)
    restarting = restart()
    void restarting.then(() => next(numFailures === 0 ? LOOK_EVERY_MS : backoffMs(numFailures)))
  }

  look()
  return {
    url,
    get pid() {
      return server.pid
    },
    stop: async () => {
      isStopped = true
      clearTimeout(timer)
      await restarting
      await server.end()
      folder.leave()
    },
  }
}

/** A child of ours: gone from the process table as soon as it ended. */
function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false // no such process
  }
}
