// The ready file: how scripts find a cluster that `up` started. It appears whole or not at all.

import { renameSync, rmSync, writeFileSync } from 'node:fs'
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

export function writeReadyFile(file: string, info: ReadyInfo): void {
  const partial = `${file}.${info.pid}.tmp`
  writeFileSync(partial, `${JSON.stringify(info)}\n`)
  renameSync(partial, file)
}

/** A cluster that is gone must not be found. */
export const removeReadyFile = (file: string): void => rmSync(file, { force: true })
