// All requests at once, again and again while a fault is being injected, with a count of the tokens that came: what a
// fault is placed by.

import type { Answer } from './answer.js'
import type { Doors } from './doors.js'
import type { ChaosRequest } from './requests.js'

/** Counts the tokens of all streams; faults wait for a count. */
export interface TokenCount {
  readonly value: number
  add(count: number): void
  /** Resolves within the call of `add` that reaches it. Rejects when the signal is aborted. */
  reached(count: number, signal: AbortSignal): Promise<void>
}

export function countTokens(): TokenCount {
  let value = 0
  let waiting: { readonly count: number; readonly wake: () => void }[] = []
  return {
    get value() {
      return value
    },
    add: (count) => {
      value += count
      const due = waiting.filter((waiter) => waiter.count <= value)
      waiting = waiting.filter((waiter) => waiter.count > value)
      for (const { wake } of due) wake()
    },
    reached: (count, signal) =>
      new Promise((resolve, reject) => {
        if (count <= value) return resolve()
        const fail = (): void => reject(new Error(`want ${count} tokens, found ${value} when time was up`))
        signal.addEventListener('abort', fail, { once: true })
        const wake = (): void => {
          signal.removeEventListener('abort', fail)
          resolve()
        }
        waiting.push({ count, wake })
      }),
  }
}

export interface Ran {
  readonly index: number // of the request
  readonly answer: Answer
}

export interface LoadOptions {
  readonly doors: Doors
  readonly requests: readonly ChaosRequest[]
  readonly runId: string // unique: request ids are made of it
  readonly count?: TokenCount
  /** A stream that ended starts over while this is false. */
  readonly isOver?: () => boolean
}

/** Every request at least once, each in a stream of its own. */
export async function runLoad({ doors, requests, runId, count, isOver = () => true }: LoadOptions): Promise<Ran[]> {
  const ran: Ran[] = []
  const stream = async (request: ChaosRequest, index: number): Promise<void> => {
    for (let round = 0; round === 0 || !isOver(); round++) {
      const id = `${runId}-${index}-${round}`
      ran.push({ index, answer: await doors.ask(request, { id, onTokens: (more) => count?.add(more) }) })
    }
  }
  await Promise.all(requests.map(stream))
  return ran
}
