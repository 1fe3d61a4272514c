// What the page knows, frame by frame. Pure: a frame and a state give the next state.
//
// Invariants
//   P1  Every list has a bound, however long the page is open.
//   P2  A feed that begins again (`hello`) repeats what it knows: rows start over, charts and layers go on.

import type {
  ConsoleCluster,
  ConsoleFrame,
  ConsoleHello,
  ConsoleProcess,
  ConsoleStep,
  ConsoleTree,
  RequestChanges,
  RequestRow,
  SeriesPoint,
  TokenOrigin,
  WatchedRequest,
} from '../../lib/console/frame.js'
import { NO_EXPERTS, slideWindow, type ExpertWindow } from './expert-window.js'

const MAX_POINTS = 600
const MAX_STEPS = 60
const MAX_TREES = 64 // of a choice
const RATE_OVER_MS = 1_000

export interface PageState {
  readonly timeMs: number // of the last frame, Unix
  readonly hello: ConsoleHello | undefined
  readonly cluster: ConsoleCluster | undefined
  readonly rates: ReadonlyMap<string, RowRate> // by process
  readonly rows: ReadonlyMap<string, RequestRow>
  readonly hidden: number
  readonly others: RequestChanges['others']
  readonly points: readonly SeriesPoint[]
  readonly steps: readonly ConsoleStep[]
  readonly experts: ExpertWindow
  readonly watched: WatchedState | undefined
}

/** Rows per second of an expert worker. */
export interface RowRate {
  readonly sinceMs: number
  readonly rows: number
  readonly perSecond: number
}

export interface WatchedState {
  readonly id: string
  readonly isKnown: boolean
  readonly choices: ReadonlyMap<number, ChoiceState>
}

export interface ChoiceState {
  readonly texts: readonly string[]
  readonly origins: readonly TokenOrigin[]
  readonly steps: readonly number[]
  readonly trees: readonly ConsoleTree[]
}

export const EMPTY_PAGE: PageState = {
  timeMs: 0,
  hello: undefined,
  cluster: undefined,
  rates: new Map(),
  rows: new Map(),
  hidden: 0,
  others: { running: 0, ended: 0 },
  points: [],
  steps: [],
  experts: NO_EXPERTS,
  watched: undefined,
}

export function applyFrame(state: PageState, frame: ConsoleFrame): PageState {
  const { timeMs, hello, cluster, requests, step } = frame
  const lastMs = state.points.at(-1)?.timeMs ?? 0
  const rows = new Map(hello === undefined ? state.rows : [])
  for (const id of requests.gone) rows.delete(id)
  for (const row of requests.rows) rows.set(row.id, row)
  return {
    timeMs,
    hello: hello ?? state.hello,
    cluster,
    rates: ratesOf(state.rates, cluster.processes, timeMs),
    rows,
    hidden: requests.hidden,
    others: requests.others,
    points: [...state.points, ...frame.points.filter((point) => point.timeMs > lastMs)].slice(-MAX_POINTS),
    steps:
      step === undefined || isKnownStep(state.steps, step) ? state.steps : [...state.steps, step].slice(-MAX_STEPS),
    experts: slideWindow(state.experts, timeMs, frame.experts),
    watched: frame.watched && watch(state.watched, frame.watched),
  }
}

const isKnownStep = (steps: readonly ConsoleStep[], { number, worker, timeMs }: ConsoleStep): boolean =>
  steps.some((step) => step.number === number && step.worker === worker && step.timeMs === timeMs)

/** A process is one start of one id. */
export const processKey = ({ id, pid }: Pick<ConsoleProcess, 'id' | 'pid'>): string => `${id} ${pid}`

function ratesOf(
  before: PageState['rates'],
  processes: readonly ConsoleProcess[],
  timeMs: number,
): ReadonlyMap<string, RowRate> {
  const withRows = processes.filter(({ load }) => load.rows !== undefined)
  return new Map(
    withRows.map((process) => {
      const key = processKey(process)
      const rows = process.load.rows ?? 0
      const last = before.get(key)
      if (last === undefined) return [key, { sinceMs: timeMs, rows, perSecond: 0 }]
      const tookMs = timeMs - last.sinceMs
      if (tookMs < RATE_OVER_MS) return [key, last]
      return [key, { sinceMs: timeMs, rows, perSecond: Math.max(0, ((rows - last.rows) * 1_000) / tookMs) }]
    }),
  )
}

function watch(before: WatchedState | undefined, news: WatchedRequest): WatchedState {
  const { id, isKnown, isFresh } = news
  const choices = new Map(before?.id === id && !isFresh ? before.choices : [])
  for (const { choice, offset, texts, origins, steps } of news.choices) {
    const known = choices.get(choice) ?? NO_CHOICE
    choices.set(choice, {
      texts: [...known.texts.slice(0, offset), ...texts],
      origins: [...known.origins.slice(0, offset), ...origins],
      steps: [...known.steps.slice(0, offset), ...steps],
      trees: known.trees,
    })
  }
  for (const tree of news.trees) {
    const known = choices.get(tree.choice) ?? NO_CHOICE
    choices.set(tree.choice, { ...known, trees: [...known.trees, tree].slice(-MAX_TREES) })
  }
  return { id, isKnown, choices }
}

const NO_CHOICE: ChoiceState = { texts: [], origins: [], steps: [], trees: [] }

const PHASE_ORDER: Readonly<Record<RequestRow['phase'], number>> = {
  decode: 0,
  paused: 0,
  prefill: 0,
  elsewhere: 0,
  waiting: 0,
  finished: 1,
  failed: 1,
  cancelled: 1,
}

export const isOpen = ({ phase }: RequestRow): boolean => PHASE_ORDER[phase] === 0

/** What runs before what ended, the newest first. */
export const sortRows = (rows: Iterable<RequestRow>): readonly RequestRow[] =>
  [...rows].sort(
    (a, b) => PHASE_ORDER[a.phase] - PHASE_ORDER[b.phase] || b.startedMs - a.startedMs || (a.id < b.id ? -1 : 1),
  )

/**
 * Which request to show: the chosen one; without a choice the one shown while it runs, then a newer one that does.
 */
export function requestToShow(
  rows: ReadonlyMap<string, RequestRow>,
  { chosen, shown }: { readonly chosen: string | undefined; readonly shown: string | undefined },
): string | undefined {
  if (chosen !== undefined) return chosen
  const current = shown === undefined ? undefined : rows.get(shown)
  if (current !== undefined && isOpen(current)) return shown
  const next = sortRows(rows.values())[0]
  if (next === undefined) return shown
  return isOpen(next) || current === undefined ? next.id : shown
}
