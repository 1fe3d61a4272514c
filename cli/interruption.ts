// SIGINT and SIGTERM as one wish to leave. A terminal signals the whole process group and npx passes the signal on once
// more: what arrives within five seconds of the first is the same wish; what comes later means `hurry`.

const SAME_WISH_MS = 5_000

export interface Interruption {
  readonly signal: AbortSignal // aborted at the first signal
  readonly hurry: AbortSignal // aborted when the user asks again
  readonly requested: Promise<void>
  /** 130 when a SIGINT was among the signals (their order is not kept), else `afterTerm`; undefined when nobody asked. */
  exitCode(afterTerm: number): number | undefined
}

export interface SignalSource {
  on(name: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
}

export function watchSignals(source: SignalSource, now: () => number): Interruption {
  const first = new AbortController()
  const again = new AbortController()
  let firstMs: number | undefined
  let isInterrupt = false
  const requested = new Promise<void>((resolve) =>
    first.signal.addEventListener('abort', () => resolve(), { once: true }),
  )
  const arrive = (name: 'SIGINT' | 'SIGTERM') => (): void => {
    isInterrupt ||= name === 'SIGINT'
    if (firstMs === undefined) {
      firstMs = now()
      first.abort()
    } else if (now() - firstMs > SAME_WISH_MS) again.abort()
  }
  source.on('SIGINT', arrive('SIGINT'))
  source.on('SIGTERM', arrive('SIGTERM'))
  return {
    signal: first.signal,
    hurry: again.signal,
    requested,
    exitCode: (afterTerm) => (firstMs === undefined ? undefined : isInterrupt ? 130 : afterTerm),
  }
}
