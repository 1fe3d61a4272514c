// The page's connection to the router: one fetch whose body is read line by line, opened again with back-off when it ends.
// Fetch rather than EventSource, which cannot send the API key as a header.
//
// Invariants
//   N1  One connection at most; whoever is replaced or silent is aborted.
//   N2  The key goes out as a header only, never into an address.

import type { ConsoleFrame } from '../lib/console/frame.js'
import { backOffMs, createLineSplitter } from './state/lines.js'

const SILENT_MS = 5_000 // a feed that says nothing for so long is taken for dead
const BUSY_MS = 3_000
const MAX_LINE = 16 * 2 ** 20

export type FeedStatus =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'lost'; readonly retryMs: number }
  | { readonly kind: 'busy' } // too many consoles
  | { readonly kind: 'key' } // it wants a key, or another one

export interface Feed {
  /** Opens it anew, for this request's tokens and trees. */
  watch(request: string | undefined): void
  setKey(key: string): void
}

export interface FeedOptions {
  readonly address: URL
  readonly key: string | undefined
  readonly onFrame: (frame: ConsoleFrame) => void
  readonly onStatus: (status: FeedStatus) => void
}

export function openFeed({ address, key: firstKey, onFrame, onStatus }: FeedOptions): Feed {
  const name = crypto.getRandomValues(new Uint32Array(4)).join('-')
  let key = firstKey
  let request: string | undefined
  let tries = 0
  let connection = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  let isLive = false

  const tell = (status: FeedStatus): void => {
    isLive = status.kind === 'live'
    onStatus(status)
  }

  const connect = (): void => {
    clearTimeout(timer)
    connection.abort()
    connection = new AbortController()
    void run(connection)
  }

  const later = (delayMs: number): void => {
    clearTimeout(timer)
    timer = setTimeout(connect, delayMs)
  }

  const lost = (): void => {
    connection.abort()
    connection = new AbortController()
    const retryMs = backOffMs(tries, Math.random())
    tries += 1
    tell({ kind: 'lost', retryMs })
    later(retryMs)
  }

  /** Reads one connection to its end; what follows depends on how it ended, unless another one took its place. */
  const run = async (mine: AbortController): Promise<void> => {
    const isOver = (): boolean => mine !== connection
    try {
      watchSilence()
      const response = await fetch(feedAddress(address, name, request), {
        headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
        cache: 'no-store',
        signal: mine.signal,
      })
      if (isOver()) return
      if (response.status === 401) tell({ kind: 'key' })
      else if (response.status === 429) {
        tell({ kind: 'busy' })
        later(BUSY_MS)
        return
      } else if (response.ok && response.body !== null) await read(response.body, isOver)
      else throw new Error(`the feed answered ${response.status}`)
      clearTimeout(timer)
      if (response.status !== 401 && !isOver()) lost()
    } catch {
      if (!isOver()) lost() // refused, cut off, or no feed at all: the router may come back
    }
  }

  /** Whatever comes puts it off. */
  const watchSilence = (): void => {
    clearTimeout(timer)
    timer = setTimeout(lost, SILENT_MS)
  }

  const read = async (body: ReadableStream<Uint8Array>, isOver: () => boolean): Promise<void> => {
    const splitter = createLineSplitter(MAX_LINE)
    const decoder = new TextDecoder()
    const reader = body.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || isOver()) return
      for (const line of splitter.push(decoder.decode(value, { stream: true }))) {
        onFrame(JSON.parse(line) as ConsoleFrame) // the router wrote it, from this very type
        tries = 0
        if (!isLive) tell({ kind: 'live' })
      }
      watchSilence()
    }
  }

  connect()
  return {
    watch: (wanted) => {
      if (wanted === request) return
      request = wanted
      connect()
    },
    setKey: (given) => {
      key = given
      tell({ kind: 'connecting' })
      connect()
    },
  }
}

function feedAddress(address: URL, name: string, request: string | undefined): URL {
  const full = new URL(address)
  full.searchParams.set('console', name)
  if (request !== undefined) full.searchParams.set('watch', request)
  return full
}
