// Work that takes long and can pause: a generator that yields wherever it may be left for a while, or for good.
//
// Invariants
//   ST1  What is left for good cleans up after itself: its `catch` and `finally` blocks run.

export type Steps<T> = Generator<undefined, T, undefined>

/** All of it without a pause. */
export function inOneGo<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

/** The event loop has its turn after every step; where `turn` rejects, the work ends with that error (ST1). */
export async function inTurns<T>(steps: Steps<T>, turn: () => Promise<void>): Promise<T> {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
    try {
      await turn()
    } catch (error) {
      steps.throw(error)
      throw error
    }
  }
}

/** Work of one step. */
export function* asOneStep<T>(work: () => T): Steps<T> {
  yield
  return work()
}
