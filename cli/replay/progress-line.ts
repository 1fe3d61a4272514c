// One line on a terminal that says how a replay goes; nothing elsewhere.

import type { ReplayProgress } from '../../replay/src/index.js'

const EVERY_MS = 250

export interface ProgressLine {
  show(progress: ReplayProgress): void
  end(): void
}

export function createProgressLine(now: () => number): ProgressLine {
  if (!process.stderr.isTTY) return { show: () => undefined, end: () => undefined }
  let shownMs = -Infinity
  let worstMs = 0
  return {
    show: (progress) => {
      worstMs = Math.max(worstMs, progress.latenessMs)
      if (now() - shownMs < EVERY_MS && progress.done < progress.planned) return
      shownMs = now()
      process.stderr.write(`\r\x1b[2K${describe(progress, worstMs)}`)
      worstMs = 0
    },
    end: () => void process.stderr.write('\r\x1b[2K'),
  }
}

export function describe(
  { planned, sent, done, failed, inFlight, elapsedMs }: ReplayProgress,
  worstMs: number,
): string {
  const rate = elapsedMs > 0 ? (sent * 1000) / elapsedMs : 0
  return `${done}/${planned} done, ${failed} failed, ${inFlight} in flight, ${rate.toFixed(1)}/s sent, late by ${worstMs.toFixed(1)} ms at most`
}
