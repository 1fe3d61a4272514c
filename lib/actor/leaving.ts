// How a worker's process ends: told to drain it says so, waits until nobody needs it, then stops; it stops once, however
// often it is told.

export interface Leaving {
  drain(): Promise<void>
  stop(): Promise<void>
}

export interface LeavingOptions {
  /** Tells the others, at once. */
  readonly announce: (state: 'draining' | 'stopped') => void
  /** Resolves when nobody needs the process any more, or after a bound. */
  readonly untilUnneeded: () => Promise<unknown>
  readonly close: () => Promise<void>
}

export function createLeaving({ announce, untilUnneeded, close }: LeavingOptions): Leaving {
  let stopping: Promise<void> | undefined
  const leave = (): Promise<void> => {
    announce('stopped')
    return close()
  }
  const stop = (): Promise<void> => (stopping ??= leave())
  return {
    drain: async () => {
      announce('draining')
      await untilUnneeded()
      await stop()
    },
    stop,
  }
}
