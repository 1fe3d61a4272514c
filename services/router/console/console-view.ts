// What one open console has been told, and its next frame. A frame is composed when it can be sent (C1): a view keeps
// cursors, never a queue.

import type { ConsoleFrame, ConsoleStep, ExpertRows } from '../../../lib/console/frame.js'
import type { ConsoleOptions } from './console.js'
import type { ExpertCounts } from './expert-counts.js'
import type { Gathered } from './gathering.js'
import { changesOf, requestRows } from './request-rows.js'
import type { Watched } from './watched-request.js'

export interface FrameSources extends Pick<ConsoleOptions, 'clock' | 'hello' | 'cluster' | 'records'> {
  readonly gathered: Gathered
}

export interface ViewOptions {
  readonly tenant: string // whose requests it may see
  readonly watched: Watched | undefined
}

/** Composes one console's frames, each with what is new since the one before. */
export function createFrames(sources: FrameSources, { tenant, watched }: ViewOptions): () => ConsoleFrame {
  const { clock, gathered } = sources
  const { series } = gathered
  const rowContext = { nowMs: () => clock.now(), ttftMs: gathered.ttftMs }
  const knownRows = new Map<string, string>() // by id
  const experts = createExpertCursor(gathered.counts)
  let numPoints = 0
  let lastStep: ConsoleStep | undefined
  let hasBegun = false

  return () => {
    const cluster = sources.cluster()
    series.advance({ unixMs: clock.now(), monotonicMs: clock.monotonicMs() }, cluster)
    const { points, count } = series.since(numPoints)
    numPoints = count
    const step = gathered.lastStep
    const isNewStep = step !== undefined && step !== lastStep
    lastStep = step
    const rises = experts()
    const frame: ConsoleFrame = {
      timeMs: clock.now(),
      ...(!hasBegun && { hello: { ...sources.hello(), isKeyed: tenant !== '' } }),
      cluster,
      requests: changesOf(requestRows(sources.records(), tenant, rowContext), knownRows),
      points,
      ...(isNewStep && { step }),
      ...(rises && { experts: rises }),
      ...(watched && { watched: watched.next() }),
    }
    hasBegun = true
    return frame
  }
}

/** By how much the counts rose since the last call; undefined where nothing was reported meanwhile. */
function createExpertCursor(counts: ExpertCounts): () => ExpertRows | undefined {
  let version = counts.version
  let told = counts.sums.slice()
  return () => {
    if (counts.version === version) return undefined
    version = counts.version
    const { sums, columns } = counts
    const rows = Array.from(sums, (sum, i) => Math.max(0, sum - (told[i] ?? 0)))
    told = sums.slice()
    return { columns, rows }
  }
}
