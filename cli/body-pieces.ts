// The pieces of an answer's body, as they come.

/** Throws the signal's reason as soon as it aborts: the stream of `fetch` alone may go on waiting for its peer. */
export async function* bodyPieces<T>(body: ReadableStream<T> | null, signal: AbortSignal): AsyncGenerator<T> {
  if (body === null) return
  const reader = body.getReader()
  const over = new AbortController()
  const aborted = new Promise<never>((_, reject) => {
    const leave = (): void => reject(signal.reason as Error) // what `abort` was told, an AbortError without
    if (signal.aborted) leave()
    signal.addEventListener('abort', leave, { signal: over.signal })
  })
  aborted.catch(() => undefined) // who reads is told
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), aborted])
      if (done) return
      yield value
    }
  } finally {
    over.abort()
    reader.cancel().catch(() => undefined) // it is closed, or was aborted
  }
}
