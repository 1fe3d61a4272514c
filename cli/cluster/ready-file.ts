// The ready file: how scripts find a cluster that `up` started. It appears whole or not at all.

import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { ClusterError } from '../../lib/errors.js'
import type { RunningCluster } from './start-cluster.js'

export interface ReadyInfo {
  readonly http: string // URL of the first router
  readonly grpc: string // host:port
  readonly nats: string | null
  readonly pid: number // of `banyan up`
  readonly routers: readonly { readonly http: string; readonly grpc: string }[]
}

export function readyInfo({ routers, nats }: Pick<RunningCluster, 'routers' | 'nats'>, pid: number): ReadyInfo {
  const [{ http, grpc }] = routers
  return { http, grpc, nats, pid, routers }
}

const partialOf = (file: string, pid: number): string => `${file}.${pid}.tmp`

/**
 * Takes away what a killed cluster left, which would be taken for this one. Throws `failed_precondition` where the file
 * cannot be written: before anything starts.
 */
export function claimReadyFile(file: string, pid: number): void {
  const partial = partialOf(file, pid)
  try {
    writeFileSync(partial, '')
    rmSync(partial)
    rmSync(file, { force: true })
  } catch (error) {
    const { message } = ClusterError.from(error)
    throw new ClusterError('failed_precondition', `ready-file ${file}: want a file to write, ${message}`, {
      cause: error,
    })
  }
}

export function writeReadyFile(file: string, info: ReadyInfo): void {
  const partial = partialOf(file, info.pid)
  writeFileSync(partial, `${JSON.stringify(info)}\n`)
  renameSync(partial, file)
}

/** A cluster that is gone must not be found. */
export const removeReadyFile = (file: string): void => rmSync(file, { force: true })
