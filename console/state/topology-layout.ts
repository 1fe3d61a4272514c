// Where processes and the ways between them are drawn: routers and drafters on the left, attention workers in the middle,
// expert workers on the right.

import type { ConsoleProcess } from '../../lib/console/frame.js'
import { processKey } from './page-state.js'

const CARD = { height: 62, low: 40, gap: 8 }
const HEADING = 22
const TALL_ROWS = 4 // above that cards are low, and go side by side
const LOW_ROWS = 8
const MAX_SIDE_BY_SIDE = 3
const MAX_CARDS = LOW_ROWS * MAX_SIDE_BY_SIDE // of a role

export interface Card {
  readonly key: string
  readonly process: ConsoleProcess
  readonly isLow: boolean
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Heading {
  readonly text: string
  readonly x: number
  readonly y: number
}

/** A way that frames take. */
export interface Edge {
  readonly key: string
  readonly kind: 'step' | 'experts' | 'draft'
  readonly from: readonly [x: number, y: number]
  readonly to: readonly [x: number, y: number]
}

export interface Topology {
  readonly height: number
  readonly cards: readonly Card[]
  readonly headings: readonly Heading[]
  readonly edges: readonly Edge[]
}

/** `router`: the one that tells; only its own ways to others are known. */
export function layoutTopology(processes: readonly ConsoleProcess[], width: number, router: string): Topology {
  const gap = Math.max(72, width * 0.13)
  const left = (width - 2 * gap) * 0.3
  const middle = (width - 2 * gap) * 0.3
  const right = (width - 2 * gap) * 0.4
  const of = (role: string): readonly ConsoleProcess[] => processes.filter((process) => process.role === role)
  const routers = group('routers', of('router'), { x: 0, y: 0, width: left })
  const drafters = group('drafters', of('drafter'), { x: 0, y: routers.bottom + CARD.gap, width: left })
  const attention = group('attention workers', of('attention'), { x: left + gap, y: 0, width: middle })
  const experts = group('expert workers', of('expert-worker'), { x: left + middle + 2 * gap, y: 0, width: right })
  const groups = [routers, ...(of('drafter').length > 0 ? [drafters] : []), attention, experts]
  const height = Math.max(...groups.map(({ bottom }) => bottom), 120)
  return {
    height,
    cards: groups.flatMap(({ cards }) => cards),
    headings: groups.map(({ heading }) => heading),
    edges: [
      ...connect(
        'step',
        routers.cards.filter(({ process }) => process.id === router),
        attention.cards,
      ),
      ...connect('experts', attention.cards, experts.cards),
      ...connectDown(
        routers.cards.find(({ process }) => process.id === router),
        drafters.cards,
      ),
    ],
  }
}

interface Group {
  readonly cards: readonly Card[]
  readonly heading: Heading
  readonly bottom: number
}

const ALIVE_FIRST: Readonly<Record<ConsoleProcess['state'], number>> = {
  ready: 0,
  suspect: 0,
  draining: 0,
  starting: 0,
  dead: 1,
}

function group(
  title: string,
  processes: readonly ConsoleProcess[],
  { x, y, width }: { readonly x: number; readonly y: number; readonly width: number },
): Group {
  const sorted = [...processes].sort(
    (a, b) =>
      ALIVE_FIRST[a.state] - ALIVE_FIRST[b.state] || a.id.localeCompare(b.id, 'en', { numeric: true }) || b.pid - a.pid,
  )
  const shown = sorted.slice(0, MAX_CARDS)
  const isLow = shown.length > TALL_ROWS
  const sideBySide = isLow ? Math.min(MAX_SIDE_BY_SIDE, Math.ceil(shown.length / LOW_ROWS)) : 1
  const height = isLow ? CARD.low : CARD.height
  const cardWidth = (width - (sideBySide - 1) * CARD.gap) / sideBySide
  const cards = shown.map((process, i) => ({
    key: processKey(process),
    process,
    isLow,
    x: x + (i % sideBySide) * (cardWidth + CARD.gap),
    y: y + HEADING + Math.floor(i / sideBySide) * (height + CARD.gap),
    width: cardWidth,
    height,
  }))
  const hidden = sorted.length - shown.length
  const text = `${title} · ${sorted.length}${hidden > 0 ? ` (${hidden} not shown)` : ''}`
  const rows = Math.ceil(shown.length / sideBySide)
  return { cards, heading: { text, x, y: y + 12 }, bottom: y + HEADING + rows * (height + CARD.gap) }
}

const isAlive = ({ process }: Card): boolean => process.state !== 'dead'

const connect = (kind: Edge['kind'], from: readonly Card[], to: readonly Card[]): Edge[] =>
  from.filter(isAlive).flatMap((a) =>
    to.filter(isAlive).map((b) => ({
      key: `${a.key} ${b.key}`,
      kind,
      from: [a.x + a.width, a.y + a.height / 2] as const,
      to: [b.x, b.y + b.height / 2] as const,
    })),
  )

/** To cards below. */
const connectDown = (from: Card | undefined, to: readonly Card[]): Edge[] =>
  from === undefined || !isAlive(from)
    ? []
    : to.filter(isAlive).map((card) => ({
        key: `${from.key} ${card.key}`,
        kind: 'draft' as const,
        from: [card.x + card.width / 2, from.y + from.height] as const,
        to: [card.x + card.width / 2, card.y] as const,
      }))
