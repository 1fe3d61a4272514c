// The head of the page: what is served, how the feed is, and the figures of the last seconds.

import type { FeedStatus } from '../feed.js'
import { formatCount, formatMs, formatPercent } from '../state/format.js'
import type { PageState } from '../state/page-state.js'
import { find, make, setText } from './dom.js'

const MEAN_OVER = 5 // points, of a second each

export interface Header {
  render(state: PageState): void
  status(status: FeedStatus): void
}

export function createHeader(): Header {
  const about = find('about', HTMLParagraphElement)
  const pill = find('status', HTMLSpanElement)
  const tiles = new Map(TILES.map(({ title }) => [title, addTile(title)]))
  return {
    render: (state) => {
      setText(about, describe(state))
      for (const { title, value, note } of TILES) {
        const tile = tiles.get(title)
        if (tile === undefined) continue
        setText(tile.value, value(state))
        setText(tile.note, note(state))
      }
    },
    status: (status) => {
      pill.dataset.kind = status.kind
      setText(pill, statusWords(status))
    },
  }
}

function statusWords(status: FeedStatus): string {
  switch (status.kind) {
    case 'connecting':
      return 'connecting'
    case 'live':
      return 'live'
    case 'busy':
      return 'too many consoles open; trying again'
    case 'key':
      return 'wants an API key'
    case 'lost':
      return `router not reached; again in ${formatMs(Math.round(status.retryMs / 100) * 100)}`
  }
}

function describe({ hello, cluster }: PageState): string {
  if (hello === undefined) return ''
  const whose = hello.isKeyed ? `requests of your key on ${hello.router}` : `requests of ${hello.router}`
  const parts = [hello.model, hello.weights, hello.fingerprint, `epoch ${cluster?.epoch ?? 0}`, whose]
  return [...parts, 'topology of the whole cluster', `version ${hello.version}`].join(' · ')
}

interface Tile {
  readonly title: string
  readonly value: (state: PageState) => string
  readonly note: (state: PageState) => string
}

const lastPoints = ({ points }: PageState) => points.slice(-MEAN_OVER)

/** Of the last point that has one. */
function latest(state: PageState, field: 'ttftP50' | 'ttftP95' | 'itlP50' | 'itlP95'): number | null {
  return state.points.findLast((point) => point[field] !== null)?.[field] ?? null
}

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

function flowMean(state: PageState, value: (flow: NonNullable<PageState['points'][number]['flow']>) => number): number {
  return mean(lastPoints(state).flatMap(({ flow }) => (flow === null ? [] : [value(flow)])))
}

const TILES: readonly Tile[] = [
  {
    title: 'tokens per second',
    value: (state) => formatCount(mean(lastPoints(state).map(({ tokensPerSecond }) => tokensPerSecond))),
    note: (state) => `${formatCount(mean(lastPoints(state).map(({ steps }) => steps)))} steps/s`,
  },
  {
    title: 'sequences running',
    value: ({ cluster }) => formatCount(cluster?.running ?? 0),
    note: ({ cluster }) => `${cluster?.waiting ?? 0} waiting`,
  },
  {
    title: 'first token',
    value: (state) => formatMs(latest(state, 'ttftP50')),
    note: (state) => `p95 ${formatMs(latest(state, 'ttftP95'))}`,
  },
  {
    title: 'between tokens',
    value: (state) => formatMs(latest(state, 'itlP50')),
    note: (state) => `p95 ${formatMs(latest(state, 'itlP95'))}`,
  },
  {
    title: 'step',
    value: (state) => formatMs(flowMean(state, ({ durationMs }) => durationMs)),
    note: (state) => `${formatCount(flowMean(state, ({ rows }) => rows))} rows`,
  },
  {
    title: 'acceptance length',
    value: (state) => formatCount(flowMean(state, ({ emitted, sequences }) => emitted / Math.max(1, sequences))),
    note: (state) => {
      const drafted = flowMean(state, (flow) => flow.drafted)
      return drafted === 0
        ? 'tokens per step, no drafts'
        : `${formatPercent(flowMean(state, (flow) => flow.accepted) / drafted)} of drafts accepted`
    },
  },
  {
    title: 'KV in use',
    value: ({ cluster }) => formatPercent(cluster?.kvUsage ?? 0),
    note: ({ cluster }) => `${cluster?.placement.copies ?? 0} of ${cluster?.placement.replicas ?? 0} replicas placed`,
  },
]

function addTile(title: string): { readonly value: Element; readonly note: Element } {
  const tile = make('div', 'tile')
  const value = make('div', 'tile-value')
  const note = make('div', 'tile-note')
  tile.append(make('div', 'tile-title', title), value, note)
  find('tiles', HTMLDivElement).append(tile)
  return { value, note }
}
