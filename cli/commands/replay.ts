// `banyan replay`: a trace against an endpoint, or against a cluster that lives for the call; the report, and the verdict
// as an exit code.

import { parseApiKey } from '../../lib/config/api-keys.js'
import {
  DEGRADED_MS,
  openReportFolder,
  planReplay,
  readTrace,
  requireCheckable,
  sliceTrace,
} from '../../replay/src/index.js'
import { clientTls } from '../client-tls.js'
import { loadConfig, printsConfig } from '../cluster-flags.js'
import { watchSignals, type Interruption } from '../interruption.js'
import { openGrpcEndpoint, openHttpEndpoint, type Endpoint, type EndpointOptions } from '../replay/endpoint.js'
import { asUsage, goalsOf, limitsOf, promptForm, scheduleOf, type AllFlags } from '../replay/replay-flags.js'
import { runReplay, type ReplayJob } from '../replay/run-replay.js'
import { usageError } from '../report-error.js'
import { readOptions, tellLeftOut } from '../trace/reading.js'
import { withCluster } from '../with-cluster.js'
import { apiKeyOf } from './status.js'

const DEFAULT_CONNECT_MS = 10_000

export async function replay(path: string, flags: AllFlags): Promise<number> {
  if (flags.url !== undefined && flags.grpc !== undefined) throw usageError('want one of --url and --grpc, found both')
  const isEmbedded = flags.url === undefined && flags.grpc === undefined
  const resolved = isEmbedded ? loadConfig(flags) : undefined
  if (resolved !== undefined && printsConfig(flags, resolved)) return 0
  const job = await prepare(path, flags)
  const interruption = watchSignals(process, () => Date.now())
  const run = (endpoint: Endpoint, sharesProcess: boolean): Promise<number> =>
    runThrough(endpoint, { ...job, maxLatenessMs: latenessBound(flags, sharesProcess) }, interruption)
  if (resolved === undefined) return run(openEndpoint(flags, interruption.signal), false)
  const [firstKey] = resolved.config.apiKey
  const apiKey = firstKey === undefined ? undefined : parseApiKey(firstKey).key
  const options = { ...endpointOptions(flags, interruption.signal), apiKey, tls: undefined, model: undefined }
  return withCluster(
    resolved,
    { signal: interruption.signal },
    ({ routers: [{ http }], nats }) => run(openHttpEndpoint(http, options), nats === null),
    { metricsPort: resolved.config.metricsPort }, // the report reads the expert workers' series
  )
}

/** All that can be wrong with the command line or the trace is said before anything is started. */
async function prepare(path: string, flags: AllFlags): Promise<Omit<ReplayJob, 'maxLatenessMs'>> {
  const schedule = scheduleOf(flags)
  const settings = { goals: goalsOf(flags), limits: limitsOf(flags), promptForm: promptForm(flags) }
  if (flags.maxInFlight === 0) throw usageError('--max-in-flight: want at least 1, found 0')
  const trace = await readTrace(path, readOptions(flags))
  tellLeftOut(trace)
  asUsage(() => planReplay(trace, schedule))
  if (flags.check === true) asUsage(() => requireCheckable(sliceTrace(trace, schedule).requests))
  if (flags.out !== undefined)
    await openReportFolder(flags.out).catch((error: unknown) => asUsage((): never => raise(error)))
  return { path, trace, schedule, ...settings, flags }
}

function raise(error: unknown): never {
  throw error
}

const endpointOptions = (flags: AllFlags, signal: AbortSignal): EndpointOptions => ({
  signal,
  apiKey: apiKeyOf(flags),
  tls: clientTls(flags),
  model: typeof flags.model === 'string' ? flags.model : undefined,
  connectTimeoutMs: flags.connectTimeoutMs ?? DEFAULT_CONNECT_MS,
  firstByteTimeoutMs: flags.firstByteTimeoutMs,
})

function openEndpoint(flags: AllFlags, signal: AbortSignal): Endpoint {
  const { url, grpc } = flags
  if (grpc !== undefined) return openGrpcEndpoint(grpc, endpointOptions(flags, signal))
  if (url === undefined || !/^https?:\/\//.test(url))
    throw usageError(`--url: want http://… or https://…, found ${JSON.stringify(url)}`)
  return openHttpEndpoint(url, endpointOptions(flags, signal))
}

/** A cluster in this very process takes its time from the generator, and a check is about tokens: told, not judged. */
function latenessBound({ maxLateness, check }: AllFlags, sharesProcess: boolean): number | undefined {
  if (maxLateness !== undefined) return maxLateness
  return sharesProcess || check === true ? undefined : DEGRADED_MS
}

async function runThrough(endpoint: Endpoint, job: ReplayJob, interruption: Interruption): Promise<number> {
  try {
    const code = await runReplay(endpoint, job, interruption.signal)
    return interruption.exitCode(130) ?? code
  } finally {
    endpoint.close()
  }
}
