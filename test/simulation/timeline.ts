// Virtual time: events in the order of their time, then of their making; nothing else happens.
//
// Invariants
//   V1  Between two events every promise that could go on has gone on: an event is one turn of the event loop.
//   V2  The same events are made in the same order: a run is a function of its seed.

export interface Timeline {
  readonly nowMs: number
  readonly numEvents: number // that have happened
  /** Returns a function that cancels the event. */
  at(dueMs: number, run: () => void): () => void
  /** Lets events happen until the condition holds (true), or until that time (false). What an event throws is thrown. */
  runUntil(limitMs: number, isDone: () => boolean): Promise<boolean>
}

interface Event {
  readonly dueMs: number
  readonly order: number
  run: (() => void) | undefined // undefined: cancelled
}

const isBefore = (a: Event, b: Event): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)

export function createTimeline(): Timeline {
  const heap: Event[] = []
  let nowMs = 0
  let numMade = 0
  let numEvents = 0

  const swap = (a: number, b: number): void => {
    const held = heap[a]!
    heap[a] = heap[b]!
    heap[b] = held
  }
  const push = (event: Event): void => {
    let at = heap.push(event) - 1
    for (; at > 0; at = (at - 1) >> 1) {
      const parent = (at - 1) >> 1
      if (!isBefore(heap[at]!, heap[parent]!)) return
      swap(at, parent)
    }
  }
  const pop = (): void => {
    const last = heap.pop()!
    if (heap.length === 0) return
    heap[0] = last
    for (let at = 0; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      let first = at
      if (left < heap.length && isBefore(heap[left]!, heap[first]!)) first = left
      if (right < heap.length && isBefore(heap[right]!, heap[first]!)) first = right
      if (first === at) return
      swap(at, first)
      at = first
    }
  }

  /** The next event by this time, taken out; the cancelled ones before it are forgotten. */
  const take = (limitMs: number): (() => void) | undefined => {
    for (let first = heap[0]; first !== undefined && first.dueMs <= limitMs; first = heap[0]) {
      pop()
      if (first.run === undefined) continue
      nowMs = first.dueMs
      return first.run
    }
    nowMs = limitMs
    return undefined
  }

  return {
    get nowMs() {
      return nowMs
    },
    get numEvents() {
      return numEvents
    },
    at: (dueMs, run) => {
      const event: Event = { dueMs: Math.max(nowMs, dueMs), order: (numMade += 1), run }
      push(event)
      return () => {
        event.run = undefined
      }
    },
    runUntil: (limitMs, isDone) =>
      new Promise((resolve, reject) => {
        const next = (): void => {
          try {
            if (isDone()) return resolve(true)
            const run = take(limitMs)
            if (run === undefined) return resolve(false)
            numEvents += 1
            run()
            setImmediate(next) // V1: promises go on before the next turn
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)))
          }
        }
        setImmediate(next)
      }),
  }
}
