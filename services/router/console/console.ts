// The console's side of a router: what open consoles are told, and that nothing is gathered while none is. Read-only.
//
// Invariants
//   C3  Whatever consoles do, no token and no step waits for them; at most MAX_VIEWS are open at once, and of one key MAX_VIEWS_OF_KEY.
//   C4  A caller sees texts and ids of his own key's requests only; of others he sees how many there are.

import type { Clock } from '../../../lib/actor/actor.js'
import type { ConsoleCluster, ConsoleFrame, ConsoleHello } from '../../../lib/console/frame.js'
import { ClusterError } from '../../../lib/errors.js'
import type { RequestRecord } from '../requests.js'
import type { Sequence } from '../sequence.js'
import { createFrames } from './console-view.js'
import type { Gathering } from './gathering.js'
import { createWatched, type Watched } from './watched-request.js'

export const MAX_VIEWS = 8
export const MAX_VIEWS_OF_KEY = 4 // where there are keys: one must not keep all others out
const LINGER_MS = 5_000 // what was gathered is kept for a console that opens anew

export interface Viewer {
  readonly tenant: string
  readonly console: string // a console that opens anew takes its older view's place
  readonly request: string | undefined // to be shown with its tokens and trees
}

export interface ConsoleView {
  /** What is new since the last frame. */
  next(): ConsoleFrame
  readonly isClosed: boolean
  close(): void
}

export interface Console {
  /** Throws `resource_exhausted` where too many look already. */
  open(viewer: Viewer): ConsoleView
  /** Ends all views. */
  stop(): void
}

export interface ConsoleOptions {
  readonly clock: Clock
  readonly gathering: Gathering
  readonly hello: () => Omit<ConsoleHello, 'isKeyed'>
  readonly cluster: () => ConsoleCluster
  readonly records: () => Iterable<RequestRecord> // the oldest first
  readonly find: (tenant: string, id: string) => RequestRecord | undefined
  readonly tokenText: (token: number) => string
}

interface OpenView {
  readonly viewer: Viewer
  readonly watched: Watched | undefined
}

export function createConsole(options: ConsoleOptions): Console {
  const { clock, gathering } = options
  const views = new Set<OpenView>()
  let cancelLinger = (): void => undefined

  const isWatched = (sequence: Sequence): boolean =>
    [...views].some(({ watched }) => watched?.sequences.includes(sequence) === true)

  const leave = (view: OpenView): void => {
    if (!views.delete(view) || views.size > 0) return
    cancelLinger = clock.after(LINGER_MS, () => gathering.end())
  }

  /** Its older view, if it has one, is over. */
  const makeRoom = ({ tenant, console }: Viewer): void => {
    for (const view of views) {
      if (view.viewer.console === console && view.viewer.tenant === tenant) views.delete(view)
    }
    const numOwn = [...views].filter(({ viewer }) => viewer.tenant === tenant).length
    const isOver = tenant !== '' && numOwn >= MAX_VIEWS_OF_KEY
    if (!isOver && views.size < MAX_VIEWS) return
    const most = isOver ? `${MAX_VIEWS_OF_KEY} of a key` : `${MAX_VIEWS}`
    throw new ClusterError('resource_exhausted', `console: want at most ${most} open at once; close one`, {
      details: { reason: 'CONSOLE_BUSY' },
    })
  }

  const open: Console['open'] = (viewer) => {
    makeRoom(viewer)
    cancelLinger()
    const gathered = gathering.begin(isWatched)
    const { tenant, request } = viewer
    const watched =
      request === undefined
        ? undefined
        : createWatched({
            id: request,
            find: () => options.find(tenant, request),
            originsOf: gathered.originsOf,
            tokenText: options.tokenText,
          })
    const view: OpenView = { viewer, watched }
    views.add(view)
    const next = createFrames({ ...options, gathered }, { tenant, watched })
    return {
      next,
      get isClosed() {
        return !views.has(view)
      },
      close: () => leave(view),
    }
  }

  return {
    open,
    stop: () => {
      views.clear()
      cancelLinger()
      gathering.end()
    },
  }
}
