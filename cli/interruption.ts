// SIGINT and SIGTERM as one wish to leave. A terminal signals the whole process group and npx passes the signal on once
// more: what arrives within five seconds of the first is the same wish; what comes later means `hurry`.

const SAME_WISH_MS = 5_000

export interface Interruption {
  readonly signal: AbortSignal // aborted at the first signal
  readonly hurry: AbortSignal // aborted when the user asks again
  readonly requested: Promise<void>
  /** 130 after SIGINT, `afterTerm` after SIGTERM, undefined when nobody asked. */
  exitCode(afterTerm: number): number | undefined
}

export interface SignalSource {
  on(name: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
}

export function watchSignals(source: SignalSource, now: () => number): Interruption {
  const first = new AbortController()
  const again = new AbortController()
  let firstName: 'SIGINT' | 'SIGTERM' | undefined
  let firstMs = 0
  const requested = new Promise<void>((resolve) =>
    first.signal.addEventListener('abort', () => resolve(), { once: true }),
  )
  const arrive = (name: 'SIGINT' | 'SIGTERM') => (): void => {
    if (firstName === undefined) {
      firstName = name
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
    exitCode: (afterTerm) => (firstName === undefined ? undefined : firstName === 'SIGINT' ? 130 : afterTerm),
  }
}
