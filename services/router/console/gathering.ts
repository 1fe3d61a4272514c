// What steps tell while a console is open. While none is, `isOpen` is false, nobody calls the rest, and nothing is kept.

import type { Clock } from '../../../lib/actor/actor.js'
import type { ConsoleStep, StepFlow } from '../../../lib/console/frame.js'
import type { Body } from '../../../lib/wire/messages.js'
import { readI32 } from '../../../lib/wire/tensor.js'
import { numOutput, type BareStepTree, type Sequence } from '../sequence.js'
import type { StepReport } from '../step-report.js'
import { createExpertCounts, type ExpertCounts } from './expert-counts.js'
import { createSeries, type Series } from './series.js'
import { createTokenOrigins, originsOf, type TokenOrigins } from './token-origins.js'

/** Steps are told in detail every so often; when steps begin again after a pause, more often at first. */
const DETAIL_EVERY_MS = { least: 50, most: 1_000 }
const LAYER_COLUMNS = 4

/** A step that ended. */
export interface StepSight {
  readonly step: string
  readonly worker: string
  readonly report: StepReport
  readonly expertRows: Body<'attention.sampled'>['expertRows']
}

/** How step loops tell; they ask `isOpen` first. */
export interface StepWatch {
  readonly isOpen: boolean
  /**
   * Whether the step that begins is to be told with its layers and experts: true once a second for each worker, and
   * sooner after a pause, so that a short burst is seen as well.
   */
  takeDetail(worker: string): boolean
  /** Tokens that a sequence gets of a step, before they are added to it; without a tree at the end of its prefill. */
  emitted(sequence: Sequence, step: string, tokens: readonly number[], tree: BareStepTree | undefined): void
  ended(sight: StepSight): void
}

/** All that was gathered since the first console opened. */
export interface Gathered {
  readonly series: Series
  readonly counts: ExpertCounts
  readonly lastStep: ConsoleStep | undefined
  originsOf(this: void, sequence: Sequence): TokenOrigins | undefined
  ttftMs(this: void, sequence: Sequence): number | undefined
}

export interface Gathering extends StepWatch {
  /** Begins, or goes on; trees are kept of the sequences that somebody watches. */
  begin(isWatched: (sequence: Sequence) => boolean): Gathered
  end(): void
}

export function createGathering(clock: Clock): Gathering {
  let open: ReturnType<typeof gather> | undefined
  return {
    get isOpen() {
      return open !== undefined
    },
    takeDetail: (worker) => open?.takeDetail(worker) === true,
    emitted: (sequence, step, tokens, tree) => open?.emitted(sequence, step, tokens, tree),
    ended: (sight) => open?.ended(sight),
    begin: (isWatched) => (open ??= gather(clock, isWatched)),
    end: () => {
      open = undefined
    },
  }
}

interface SequenceTimes {
  readonly ttftMs: number | undefined // undefined: the first token came before anybody looked
  lastMs: number
}

function gather(clock: Clock, isWatched: (sequence: Sequence) => boolean): Gathered & Omit<StepWatch, 'isOpen'> {
  const series = createSeries(clock.monotonicMs())
  const counts = createExpertCounts()
  const origins = new WeakMap<Sequence, TokenOrigins>()
  const times = new WeakMap<Sequence, SequenceTimes>()
  const asked = new Map<string, { readonly nextMs: number; readonly everyMs: number }>() // by worker
  let lastStep: ConsoleStep | undefined

  const noteTime = (sequence: Sequence, numTokens: number): void => {
    const nowMs = clock.monotonicMs()
    const known = times.get(sequence)
    series.tokens(numTokens, known && nowMs - known.lastMs)
    if (known !== undefined) known.lastMs = nowMs
    else {
      const ttftMs = numOutput(sequence) === 0 ? nowMs - sequence.startedMs : undefined
      if (ttftMs !== undefined) series.firstToken(ttftMs)
      times.set(sequence, { ttftMs, lastMs: nowMs })
    }
  }

  const originsFor = (sequence: Sequence): TokenOrigins => {
    const known = origins.get(sequence) ?? createTokenOrigins()
    origins.set(sequence, known)
    return known
  }

  return {
    series,
    counts,
    get lastStep() {
      return lastStep
    },
    originsOf: (sequence) => origins.get(sequence),
    ttftMs: (sequence) => times.get(sequence)?.ttftMs,
    takeDetail: (worker) => {
      const nowMs = clock.monotonicMs()
      const last = asked.get(worker)
      if (last !== undefined && nowMs < last.nextMs) return false
      const hasPaused = last === undefined || nowMs - last.nextMs > DETAIL_EVERY_MS.most
      const everyMs = hasPaused ? DETAIL_EVERY_MS.least : Math.min(2 * last.everyMs, DETAIL_EVERY_MS.most)
      asked.set(worker, { nextMs: nowMs + everyMs, everyMs })
      return true
    },
    emitted: (sequence, step, tokens, tree) => {
      if (tokens.length === 0) return
      noteTime(sequence, tokens.length)
      const offset = numOutput(sequence)
      const known = originsFor(sequence)
      known.note(offset, numberOf(step), originsOf(tree, tokens.length))
      if (tree === undefined || !isWatched(sequence)) return
      const bonus = tokens[tree.accepted.length - 1]
      known.keep({ ...tree, choice: sequence.choice, step: numberOf(step), offset, bonus })
    },
    ended: ({ step, worker, report, expertRows }) => {
      const flow = flowOf(report)
      series.step(flow)
      if (expertRows !== undefined) counts.note(worker, expertRows.shape[1] ?? 0, readI32(expertRows, 'expertRows'))
      const { layers } = report.times
      if (layers !== undefined)
        lastStep = { number: numberOf(step), timeMs: clock.now(), worker, flow, layers: layersOf(layers) }
    },
  }
}

/** A step's id ends with its number. */
const numberOf = (step: string): number => Number(step.slice(step.lastIndexOf('.') + 1))

function flowOf({ durationMs, draftMs, times, sequences, rows, emitted, drafted, accepted }: StepReport): StepFlow {
  const { routerMs, hopMs, attentionMs, expertHopMs, expertComputeMs, headMs, workerRestMs } = times
  return {
    durationMs,
    draftMs,
    routerMs,
    hopMs,
    attentionMs,
    expertHopMs,
    expertMs: expertComputeMs,
    headMs,
    restMs: workerRestMs,
    sequences,
    rows,
    emitted,
    drafted,
    accepted,
  }
}

function layersOf(times: Float32Array): ConsoleStep['layers'] {
  return Array.from({ length: times.length / LAYER_COLUMNS }, (_, layer) => {
    const at = layer * LAYER_COLUMNS
    return [times[at]!, times[at + 1]!, times[at + 2]!, times[at + 3]!]
  })
}
