// Asks a process over HTTP, as the kubelet does: a period, a timeout, so many failures in a row.

import type { V1Probe } from '@kubernetes/client-node'
import { get } from 'node:http'

export interface ProbeOptions {
  readonly ip: string
  readonly port: number
  readonly timeFactor: number // of the period
  /** Told of every outcome that counts: after so many of a kind in a row. */
  readonly onOutcome: (isGood: boolean) => void
}

/** Returns what ends it. */
export function startProbe(probe: V1Probe, { ip, port, timeFactor, onOutcome }: ProbeOptions): () => void {
  const { failureThreshold = 3, successThreshold = 1, periodSeconds = 10, initialDelaySeconds = 0 } = probe
  const periodMs = periodSeconds * 1000 * timeFactor
  let isOver = false
  let numSame = 0
  let last: boolean | undefined
  let timer = setTimeout(() => void ask(), initialDelaySeconds * 1000 * timeFactor)

  const ask = async (): Promise<void> => {
    const isGood = await answers(`http://${ip}:${port}${probe.httpGet?.path ?? '/'}`, probe.timeoutSeconds ?? 1)
    if (isOver) return
    numSame = isGood === last ? numSame + 1 : 1
    last = isGood
    if (numSame === (isGood ? successThreshold : failureThreshold)) onOutcome(isGood)
    timer = setTimeout(() => void ask(), periodMs)
  }
  return () => {
    isOver = true
    clearTimeout(timer)
  }
}

/** 200 to 399, in time. */
export function answers(url: string, timeoutSeconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: timeoutSeconds * 1000 }, ({ statusCode = 0 }) => {
      request.destroy()
      resolve(statusCode >= 200 && statusCode < 400)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
    request.on('close', () => resolve(false))
  })
}
