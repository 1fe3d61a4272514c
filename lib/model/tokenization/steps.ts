// Long work in steps: whoever drives it may let others have their turn between two of them.

/** What it works out, and between its steps nothing. */
export type Steps<T> = Generator<undefined, T>

/** All steps in one go. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}
