// `banyan up`: the whole cluster on this machine, until somebody asks it to leave.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../../lib/config/version.js'
import type { ResolvedConfig } from '../../lib/config/resolve.js'
import { modelName } from '../../lib/model/model-name.js'
import { loadConfig, printsConfig, type Flags } from '../cluster-flags.js'
import { claimReadyFile, readyInfo, removeReadyFile, writeReadyFile } from '../cluster/ready-file.js'
import type { RunningCluster } from '../cluster/start-cluster.js'
import { watchSignals, type Interruption } from '../interruption.js'
import { notify, print, printJson } from '../terminal.js'
import { startShown, type Watching } from '../with-cluster.js'

/** Resolves with the exit code: 0 after SIGTERM, 130 after SIGINT. */
export async function up(flags: Flags): Promise<number> {
  const resolved = loadConfig(flags)
  if (printsConfig(flags, resolved)) return 0
  const { readyFile } = resolved.config
  if (readyFile !== undefined) claimReadyFile(readyFile, process.pid)
  const interruption = watchSignals(process, () => Date.now())
  const cluster = await startInterruptibly(resolved, { signal: interruption.signal, isQuiet: flags.json === true })
  if (cluster === undefined) return interruption.exitCode(0) ?? 1
  const info = readyInfo(cluster, process.pid)
  const stopWatching = watchRouters(cluster, readyFile)
  if (flags.json === true) printJson(info)
  else print(greeting(resolved, cluster))
  if (readyFile !== undefined) writeReadyFile(readyFile, info)
  await interruption.requested
  stopWatching()
  notify('draining')
  await leave(cluster, interruption)
  if (readyFile !== undefined) removeReadyFile(readyFile)
  return interruption.exitCode(0) ?? 0
}

/** The ready file follows the routers that come and go, until the returned function is called. */
function watchRouters(cluster: RunningCluster, readyFile: string | undefined): () => void {
  let isWatching = readyFile !== undefined
  cluster.onRouters(() => {
    if (isWatching && readyFile !== undefined) writeReadyFile(readyFile, readyInfo(cluster, process.pid))
  })
  return () => {
    isWatching = false
  }
}

/** Undefined when the user changed their mind while it started. */
async function startInterruptibly(resolved: ResolvedConfig, watching: Watching): Promise<RunningCluster | undefined> {
  try {
    return await startShown(resolved, watching)
  } catch (error) {
    if (watching.signal.aborted) return undefined
    throw error
  }
}

/** Drains; asked again later, leaves at once. */
async function leave(cluster: RunningCluster, { hurry }: Interruption): Promise<void> {
  const hurried = new Promise<void>((resolve) => {
    hurry.addEventListener('abort', () => resolve(cluster.leave('stop')), { once: true })
  })
  await Promise.race([cluster.leave('drain'), hurried])
}

export function greeting(
  { config }: ResolvedConfig,
  cluster: Pick<RunningCluster, 'routers' | 'nats' | 'name' | 'transportReason'>,
): string {
  const model = modelName(config.model)
  const key = config.apiKey.length > 0 ? ` -H 'authorization: Bearer KEY'` : ''
  const has = (name: string): boolean => existsSync(join(config.model, name))
  const isWordless = has('config.json') && !has('tokenizer.json') // a GGUF file, or a folder of one, has words
  const prompt = isWordless ? [1, 2, 3] : 'export interface '
  const body = JSON.stringify({ model, prompt, max_tokens: 64, stream: true })
  const [{ http }] = cluster.routers
  const counts = `${config.routers} × router, ${config.attention} × attention, ${config.experts} × expert worker, ${config.drafters} × drafter`
  return [
    `banyan ${VERSION} serves ${model} (${config.weights}) as cluster ${cluster.name}: ${counts}`,
    ...cluster.routers.flatMap((router) => [`  http  ${router.http}`, `  grpc  ${router.grpc}`]),
    `  console  ${http}/console`,
    cluster.nats === null
      ? `  local transport, one process: ${cluster.transportReason}`
      : `  nats  ${cluster.nats} (${cluster.transportReason})`,
    'try',
    `  curl -N ${http}/v1/completions -H 'content-type: application/json'${key} -d '${body}'`,
  ].join('\n')
}
