// Waits for work that may hang, at most for so long.

/** Resolves when the work ends, however it ends, or after `timeoutMs`; true when the work ended by itself. */
export async function within(timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs)
  })
  const ended = work.then(
    () => true,
    () => true, // the caller asks only whether to go on waiting
  )
  const isEnded = await Promise.race([ended, late])
  clearTimeout(timer)
  return isEnded
}
