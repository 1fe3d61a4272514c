// One abort signal that follows others, and lets go of them. (AbortSignal.any keeps an entry in every source for as long
// as the source lives: on a worker's own signal that grows with every call.) Every step and every question has one, so it
// is no AbortSignal but what of one is read here: an event target takes longer to make than a frame.

/** What is read of an abort signal. */
export interface StopSignal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** A signal and who gives it; an AbortController is one. */
export interface Stopper<S extends StopSignal = StopSignal> {
  readonly signal: S
  /** Once; with a reason: somebody was given up; without one, he is not wanted any more. */
  abort(reason?: Error): void
}

export interface LinkedSignal<S extends StopSignal = StopSignal> extends Stopper<S> {
  /** Must be called when the work is done. */
  release(): void
}

/** Listeners are called once, in the order of their coming. */
class PlainSignal implements StopSignal {
  aborted = false
  reason: unknown
  private listeners: (() => void)[] = []

  addEventListener(_: 'abort', listener: () => void): void {
    if (!this.aborted) this.listeners.push(listener)
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.listeners = this.listeners.filter((other) => other !== listener)
  }

  stop(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    const told = this.listeners
    this.listeners = []
    for (const listener of told) listener()
  }
}

export function createStopper(): Stopper {
  const signal = new PlainSignal()
  return { signal, abort: (reason) => signal.stop(reason) }
}

export const linkedSignal = (sources: readonly (StopSignal | undefined)[]): LinkedSignal =>
  link(sources, createStopper())

/** The same with a stopper of the caller's. */
export function link<S extends StopSignal>(
  sources: readonly (StopSignal | undefined)[],
  stopper: Stopper<S>,
): LinkedSignal<S> {
  const follow = (): void => stopper.abort()
  for (const source of sources) {
    if (source?.aborted === true) follow()
    else source?.addEventListener('abort', follow, { once: true })
  }
  return {
    signal: stopper.signal,
    abort: (reason) => stopper.abort(reason),
    release: () => {
      for (const source of sources) source?.removeEventListener('abort', follow)
    },
  }
}
