// Many questions to one endpoint, a bounded number of them at a time.

/** Runs `work` on every item, `limit` at a time, until `isOver`; nothing new is started after a rejection. */
export async function inParallel<T>(
  items: readonly T[],
  { limit, isOver }: { readonly limit: number; readonly isOver: () => boolean },
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  let hasFailed = false
  const worker = async (): Promise<void> => {
    while (next < items.length && !hasFailed && !isOver()) {
      const index = next++
      const item = items[index]
      if (item !== undefined) await work(item, index)
    }
  }
  const guarded = (): Promise<void> =>
    worker().catch((error: unknown) => {
      hasFailed = true
      throw error
    })
  await Promise.all(Array.from({ length: limit }, guarded))
}
