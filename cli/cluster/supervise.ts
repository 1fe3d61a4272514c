// Keeps one service process alive: starts it, starts it again when it dies, ends it when told.
//
// Invariants
//   S1  A first start that fails with a reason is not tried again: its error is the cluster's.
//   S2  Later deaths are answered with a new process (a new pid) after 100 ms, doubling to 5 s; a process that ran for
//       a while starts the count anew.
//   S3  After `leave` resolves the process is gone.

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { reportSchema, type ServiceOrder } from '../../lib/config/process-messages.js'
import type { Logger } from '../../lib/config/service.js'
import { within } from '../../lib/config/within.js'
import { ClusterError, isErrorCode } from '../../lib/errors.js'
import { commandFile } from '../../lib/package-files.js'
import type { OnLoading } from './services.js'
import type { Role } from '../../lib/wire/messages.js'

const FIRST_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 5_000
const STABLE_AFTER_MS = 10_000

export interface Doors {
  readonly http: string
  readonly grpc: string
}

export interface SupervisedOptions {
  readonly role: Role
  readonly id: string
  /** Of the next process; called at every start. `doors` are those of the process before it. */
  readonly environment: (doors: Doors | undefined) => NodeJS.ProcessEnv
  readonly logger: Logger
  readonly onLoading?: OnLoading | undefined
}

export interface Supervised {
  readonly id: string
  /** Resolves when the first process serves; a router's doors, else undefined. */
  readonly started: Promise<Doors | undefined>
  leave(how: 'drain' | 'stop', timeoutMs: number): Promise<void>
}

/** Delay before the next start after so many deaths in a row. */
export const backoffMs = (numDeaths: number): number =>
  Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (numDeaths - 1))

export function supervise({ role, id, environment, logger, onLoading }: SupervisedOptions): Supervised {
  let child: ChildProcess | undefined
  let doors: Doors | undefined
  let numDeaths = 0
  let isLeaving = false
  let hasServed = false
  let restart: NodeJS.Timeout | undefined
  let succeed: (doors: Doors | undefined) => void
  let fail: (error: ClusterError) => void
  const started = new Promise<Doors | undefined>((resolve, reject) => {
    succeed = resolve
    fail = reject
  })
  started.catch(() => undefined) // whoever waits for the cluster sees it; nobody may be waiting yet

  const launch = (): void => {
    const startedMs = Date.now()
    const next = fork(commandFile(), ['serve', role], { env: environment(doors), stdio: ['ignore', 2, 2, 'ipc'] })
    let failure: ClusterError | undefined
    child = next
    next.on('message', (message) => {
      const report = reportSchema.safeParse(message)
      if (!report.success) return
      if (report.data.kind === 'service.failed') failure = fromReport(id, report.data)
      else if (report.data.kind === 'service.loading') onLoading?.(id, report.data)
      else served(report.data)
    })
    const ended = (how: string, signal: string | null): void => {
      child = undefined
      if (isLeaving) return
      const cause = failure ?? new ClusterError('internal', `${id}: want it to serve, found it ended (${how})`)
      if (!hasServed && signal === null) fail(cause)
      else again(Date.now() - startedMs, cause)
    }
    next.once('exit', (code, signal) => ended(signal ?? `code ${code}`, signal))
    next.on('error', (error) => {
      if (next.pid === undefined) ended(error.message, null) // never started: no exit follows
    })
  }

  const served = ({ http, grpc }: { readonly http?: string | undefined; readonly grpc?: string | undefined }): void => {
    hasServed = true
    doors = http === undefined || grpc === undefined ? undefined : { http, grpc }
    succeed(doors)
  }

  const again = (ranMs: number, cause: ClusterError): void => {
    numDeaths = ranMs >= STABLE_AFTER_MS ? 1 : numDeaths + 1
    const delayMs = backoffMs(numDeaths)
    logger.warn({ service: id, cause: cause.message, delayMs }, 'a service died; it is started again')
    restart = setTimeout(launch, delayMs)
  }

  launch()
  return {
    id,
    started,
    leave: async (how, timeoutMs) => {
      isLeaving = true
      clearTimeout(restart)
      fail(new ClusterError('cancelled', `${id}: told to leave`))
      if (child !== undefined) await end(child, how, timeoutMs)
    },
  }
}

async function end(child: ChildProcess, how: 'drain' | 'stop', timeoutMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const exited = once(child, 'exit')
  const order: ServiceOrder = { kind: how === 'drain' ? 'service.drain' : 'service.stop' }
  child.send(order, () => undefined) // a process that is just dying needs no order
  if (await within(timeoutMs, exited)) return
  child.kill('SIGKILL')
  await exited
}

function fromReport(
  id: string,
  report: { readonly code: string; readonly message: string; readonly details: Record<string, string> },
): ClusterError {
  const code = isErrorCode(report.code) ? report.code : 'internal'
  return new ClusterError(code, `${id}: ${report.message}`, { details: report.details })
}
