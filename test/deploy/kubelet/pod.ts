// The life of a pod of one container: started, probed, started again when it dies or its probes fail, and ended by preStop,
// SIGTERM and, after the grace, SIGKILL.
//
// Invariants
//   KP1  Ready is what the last readiness probe said, and never of a pod that was told to leave or has not started.
//   KP2  Whatever a pod does, it is gone when its grace is over.

import type { V1Container, V1Lifecycle } from '@kubernetes/client-node'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { guardProcess, type Guard } from '../../../cli/cluster/guard-process.js'
import { portOf, type Workload } from '../manifests.js'
import type { PodIdentity } from './identity.js'
import { startProbe } from './probe.js'
import type { ProcessSpec } from './process-spec.js'

const FIRST_BACKOFF_MS = 1_000
const KEPT_WORDS = 8_192

export interface Pod extends PodIdentity {
  readonly workload: Workload
  readonly isReady: boolean
  readonly isLeaving: boolean
  readonly numRestarts: number // nobody asked for
  readonly wasKilled: boolean // its grace was over
  readonly words: string // the last of what it wrote
  /** Its process dies at once, and is started again as after any death. */
  crash(): void
  /** Resolves when its process is gone. */
  leave(): Promise<void>
  /** Ends it at once. */
  stop(): Promise<void>
}

export interface PodOptions {
  readonly workload: Workload
  readonly container: V1Container
  readonly identity: PodIdentity
  readonly spec: ProcessSpec
  readonly timeFactor: number
}

export function startPod({ workload, container, identity, spec, timeFactor }: PodOptions): Pod {
  let child: ChildProcess
  let guard: Guard
  let stopProbes = (): void => undefined
  let isReady = false
  let numRestarts = 0
  let wasKilled = false
  let leaving: Promise<void> | undefined
  let words = ''

  const run = (): void => {
    const [command = '', ...args] = spec.words
    const { env, folder: cwd } = spec
    child = spawn(command, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    guard = guardProcess(child.pid ?? 0)
    const hear = (data: Buffer): void => void (words = (words + data.toString()).slice(-KEPT_WORDS))
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.on('error', (error) => hear(Buffer.from(String(error))))
    child.once('exit', (code, signal) => {
      hear(Buffer.from(`exit ${signal ?? String(code)}\n`))
      void guard.dismiss()
      stopProbes()
      isReady = false
      if (leaving === undefined) again()
    })
    stopProbes = probe()
  }

  const again = (): void => {
    numRestarts += 1
    setTimeout(() => leaving === undefined && run(), FIRST_BACKOFF_MS * 2 ** Math.min(numRestarts - 1, 4))
  }

  /** The startup probe alone until it succeeds, then the other two. */
  const probe = (): (() => void) => {
    const { startupProbe, readinessProbe, livenessProbe } = container
    const own = child
    const stops: (() => void)[] = []
    const at = (name: unknown): number => portOf(workload, name) ?? 0
    const die = (isGood: boolean): void => void (isGood || own.kill('SIGKILL'))
    const begin = (asked: typeof startupProbe, onOutcome: (isGood: boolean) => void): void => {
      if (asked === undefined) return
      stops.push(startProbe(asked, { ip: identity.ip, port: at(asked.httpGet?.port), timeFactor, onOutcome }))
    }
    begin(startupProbe, (isGood) => {
      if (!isGood) return die(false)
      stops.pop()?.()
      begin(readinessProbe, (isGoodNow) => void (isReady = isGoodNow && leaving === undefined))
      begin(livenessProbe, die)
    })
    return () => stops.forEach((stop) => stop())
  }

  const leave = async (): Promise<void> => {
    isReady = false
    stopProbes()
    if (!isAlive(child)) return
    const gone = once(child, 'exit')
    const factor = workload.isOurs ? timeFactor : 1 // a NATS server is a lame duck for 30 s at least, whatever it is told
    const graceMs = (workload.pod.terminationGracePeriodSeconds ?? 30) * 1000 * factor
    const kill = setTimeout(() => {
      wasKilled = true
      child.kill('SIGKILL')
    }, graceMs)
    await Promise.race([gone, preStop(container.lifecycle, spec, timeFactor)])
    child.kill('SIGTERM')
    await gone
    clearTimeout(kill)
    await guard.dismiss()
  }

  run()
  return {
    ...identity,
    workload,
    get isReady() {
      return isReady
    },
    get isLeaving() {
      return leaving !== undefined
    },
    get numRestarts() {
      return numRestarts
    },
    get wasKilled() {
      return wasKilled
    },
    get words() {
      return words
    },
    crash: () => void child.kill('SIGKILL'),
    leave: () => (leaving ??= leave()),
    stop: async () => {
      leaving ??= Promise.resolve()
      isReady = false
      stopProbes()
      if (!isAlive(child)) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
      await guard.dismiss()
    },
  }
}

const isAlive = ({ pid, exitCode, signalCode }: ChildProcess): boolean =>
  pid !== undefined && exitCode === null && signalCode === null

async function preStop(lifecycle: V1Lifecycle | undefined, spec: ProcessSpec, timeFactor: number): Promise<void> {
  const { sleep: pause, exec } = lifecycle?.preStop ?? {}
  if (pause !== undefined) await sleep(pause.seconds * 1000 * timeFactor)
  const [command, ...words] = (exec?.command ?? []).map(spec.translate)
  if (command !== undefined) spawnSync(command, words, { env: spec.env, timeout: 5_000 })
}
