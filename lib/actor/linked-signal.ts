// One abort signal that follows others, and lets go of them. (AbortSignal.any keeps an entry in every source for as long
// as the source lives: on a worker's own signal that grows with every call.)

export interface LinkedSignal {
  readonly signal: AbortSignal
  /** With a reason: somebody was given up; without one, he is not wanted any more. */
  abort(reason?: Error): void
  /** Must be called when the work is done. */
  release(): void
}

export function linkedSignal(sources: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController()
  const follow = (): void => controller.abort()
  for (const source of sources) {
    if (source?.aborted === true) follow()
    else source?.addEventListener('abort', follow, { once: true })
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => {
      for (const source of sources) source?.removeEventListener('abort', follow)
    },
  }
}
