// A bar for the loads of one service at a terminal: experts and bytes, as `up` shows them for all of its services.
//
// Invariants
//   LB1  A load that takes under half a second is never shown.
//   LB2  Log lines never end up in the middle of the bar.

import cliProgress from 'cli-progress'
import { isLoaded, describeLoad } from './watch-load.js'
import type { OnProgress } from '../decode/load-progress.js'

export const BRIEF_MS = 500

export interface Bar {
  /** `share` is 0 … 1. */
  update(share: number, text: string): void
  stop(): void
}

type Terminal = Pick<NodeJS.WritableStream, 'write'>

/** A bar of shares with a text beside it, on one line of a terminal. */
export function openShareBar(stream: NodeJS.WritableStream): Bar {
  const bar = new cliProgress.SingleBar({ format: '{bar} {text}', stream, clearOnComplete: true, hideCursor: true })
  bar.start(1000, 0, { text: '' })
  return {
    update: (share, text) => bar.update(Math.round(1000 * share), { text }),
    stop: () => bar.stop(),
  }
}

export interface LoadBar {
  readonly onLoading: OnProgress
  /** Writes a log line, the bar out of its way until it moves again. */
  print(line: string): void
  stop(): void
}

const CLEAR_LINE = '\r\x1b[K'

export function createLoadBar(terminal: Terminal, open: () => Bar, now: () => number): LoadBar {
  let sinceMs: number | undefined // that something is being loaded
  let bar: Bar | undefined
  const stop = (): void => {
    bar?.stop()
    bar = sinceMs = undefined
  }
  return {
    onLoading: (progress) => {
      if (isLoaded(progress)) return stop()
      sinceMs ??= now()
      if (now() - sinceMs < BRIEF_MS) return
      bar ??= open()
      bar.update(progress.bytes / progress.totalBytes, `loading ${describeLoad(progress)}`)
    },
    print: (line) => void terminal.write(bar === undefined ? line : CLEAR_LINE + line),
    stop,
  }
}
