// The list of requests: those that run first, each with the end of its text. A row is clicked to be shown whole.

import type { RequestRow } from '../../lib/console/frame.js'
import { formatCount, formatMs } from '../state/format.js'
import { isOpen, sortRows, type PageState } from '../state/page-state.js'
import { find, keepChildren, make, setText } from './dom.js'

export interface RequestsView {
  render(state: PageState, shown: string | undefined): void
}

export function createRequestsView(onChoose: (id: string) => void): RequestsView {
  const body = find('requests', HTMLTableSectionElement)
  const note = find('requests-note', HTMLParagraphElement)
  const elements = new Map<string, Element>()

  body.addEventListener('click', ({ target }) => {
    const id = target instanceof Element ? target.closest('tr')?.dataset.id : undefined
    if (id !== undefined) onChoose(id)
  })

  return {
    render: (state, shown) => {
      const rows = sortRows(state.rows.values())
      keepChildren(body, elements, rows, {
        keyOf: ({ id }) => id,
        create: createRow,
        update: (element, row) => updateRow(element, row, row.id === shown),
      })
      setText(note, describe(state, rows))
    },
  }
}

function describe({ hidden, others, hello }: PageState, rows: readonly RequestRow[]): string {
  const running = rows.filter(isOpen).length
  const parts = [`${running} open, ${rows.length - running} ended lately`]
  if (hidden > 0) parts.push(`${hidden} more not shown`)
  if (hello?.isKeyed === true) parts.push(`of other keys: ${others.running} open, ${others.ended} ended`)
  return parts.join(' · ')
}

const CELLS = ['phase', 'id', 'class', 'tokens', 'ttft', 'rate', 'tail'] as const

function createRow({ id }: RequestRow): Element {
  const row = make('tr')
  row.dataset.id = id
  for (const name of CELLS) {
    const cell = make('td', `cell-${name}`)
    if (name === 'id') cell.append(make('button', 'link', id))
    if (name === 'tail') cell.append(make('div'))
    row.append(cell)
  }
  return row
}

function updateRow(element: Element, row: RequestRow, isShown: boolean): void {
  const [phase, , priority, tokens, ttft, rate, tail] = element.children
  if (!phase || !priority || !tokens || !ttft || !rate || !tail) return
  const className = `${isShown ? 'is-shown ' : ''}phase-${row.phase}`
  if (element.className !== className) element.className = className
  setText(phase, row.phase)
  setText(priority, row.choices > 1 ? `${row.priority} ×${row.choices}` : row.priority)
  const isPrefilling = row.phase === 'prefill' || row.phase === 'waiting'
  setText(tokens, `${isPrefilling ? `${row.prefilled}/` : ''}${row.promptTokens} → ${row.outputTokens}`)
  setText(ttft, formatMs(row.ttftMs))
  setText(rate, row.outputTokens === 0 ? '–' : formatCount(row.tokensPerSecond))
  setText(tail.firstElementChild ?? tail, row.tail)
}
