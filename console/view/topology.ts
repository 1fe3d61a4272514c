// The cluster as a picture: a card per process, its state in words and colour, and the ways that frames take between them.

import type { ConsoleProcess, StepFlow } from '../../lib/console/frame.js'
import { formatCount, formatMs, formatRanges } from '../state/format.js'
import { processKey, type PageState, type RowRate } from '../state/page-state.js'
import { layoutTopology, type Card, type Edge, type Heading, type Topology } from '../state/topology-layout.js'
import { find, keepChildren, makeSvg, pageScale, setAttributes, setText } from './dom.js'
import { explain, type Tooltip } from './tooltip.js'

export interface TopologyView {
  render(state: PageState): void
}

export function createTopologyView(tooltip: Tooltip): TopologyView {
  const svg = find('topology', SVGSVGElement)
  const [edges, labels, headings, cards] = [makeSvg('g'), makeSvg('g'), makeSvg('g'), makeSvg('g')]
  svg.append(edges, headings, cards, labels)
  const edgeElements = new Map<string, Element>()
  const labelElements = new Map<string, Element>()
  const headingElements = new Map<string, Element>()
  const cardElements = new Map<string, Element>()
  let state: PageState | undefined

  explain(svg, tooltip, ({ target }) => {
    const key = target instanceof Element ? target.closest('[data-key]')?.getAttribute('data-key') : undefined
    const process = state?.cluster?.processes.find((candidate) => processKey(candidate) === key)
    return process && describeProcess(process)
  })

  return {
    render: (next) => {
      state = next
      const scale = pageScale()
      const width = svg.clientWidth / scale
      if (next.cluster === undefined || width === 0) return
      const topology = layoutTopology(next.cluster.processes, width, next.hello?.router ?? '')
      setAttributes(svg, { viewBox: `-1 0 ${width + 2} ${topology.height}`, height: topology.height * scale })
      const flow = next.points.findLast((point) => point.flow !== null)?.flow ?? undefined
      keepChildren(edges, edgeElements, topology.edges, {
        keyOf: ({ key }) => key,
        create: createEdge,
        update: updateEdge,
      })
      keepChildren(labels, labelElements, edgeLabels(topology, flow), {
        keyOf: ({ kind }) => kind,
        create: () => makeSvg('text', { class: 'edge-label', 'text-anchor': 'middle' }),
        update: (element, { x, y, text }) => {
          setAttributes(element, { x, y })
          setText(element, text)
        },
      })
      keepChildren(headings, headingElements, topology.headings, {
        keyOf: ({ text }) => text.split(' · ', 1)[0] ?? text,
        create: () => makeSvg('text', { class: 'group-heading' }),
        update: (element, { text, x, y }: Heading) => {
          setAttributes(element, { x, y })
          setText(element, text)
        },
      })
      keepChildren(cards, cardElements, topology.cards, {
        keyOf: ({ key }) => key,
        create: createCard,
        update: (element, card) => updateCard(element, card, next.rates.get(card.key)),
      })
    },
  }
}

const createEdge = ({ kind }: Edge): Element => makeSvg('path', { class: `edge edge-${kind}` })

function updateEdge(element: Element, { from: [x1, y1], to: [x2, y2], kind }: Edge): void {
  const bend = kind === 'draft' ? 0 : (x2 - x1) / 2
  setAttributes(element, { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` })
}

const KINDS = ['step', 'experts', 'draft'] as const

interface EdgeLabel {
  readonly kind: string
  readonly x: number
  readonly y: number
  readonly text: string
}

/** One label for all ways of a kind: what a step's way there and back takes. */
function edgeLabels({ edges }: Topology, flow: StepFlow | undefined): EdgeLabel[] {
  if (flow === undefined) return []
  const texts: Readonly<Record<Edge['kind'], string>> = {
    step: `hop ${formatMs(flow.hopMs)}`,
    experts: `hops ${formatMs(flow.expertHopMs)}`,
    draft: `wait ${formatMs(flow.draftMs)}`,
  }
  return KINDS.flatMap((kind): EdgeLabel[] => {
    const ways = edges.filter((edge) => edge.kind === kind)
    const [first] = ways
    if (first === undefined) return []
    const [x1, y1] = first.from
    const [x2, y2] = first.to
    if (kind === 'draft') return [{ kind, x: x2 + 38, y: y2 - 8, text: texts[kind] }]
    const top = Math.min(y1, ...ways.map(({ to }) => to[1]))
    return [{ kind, x: (x1 + x2) / 2, y: top - 7, text: texts[kind] }]
  })
}

function createCard(card: Card): Element {
  const group = makeSvg('g', { 'data-key': card.key, tabindex: 0, role: 'img' })
  group.append(
    makeSvg('rect', { class: 'card-box', rx: 7 }),
    makeSvg('circle', { class: 'card-dot', r: 4.5 }),
    makeSvg('text', { class: 'card-name' }),
    makeSvg('text', { class: 'card-state', 'text-anchor': 'end' }),
    makeSvg('text', { class: 'card-load' }),
    makeSvg('text', { class: 'card-more' }),
  )
  return group
}

function updateCard(group: Element, { process, x, y, width, height, isLow }: Card, rate: RowRate | undefined): void {
  const [box, dot, name, state, load, more] = group.children
  if (!box || !dot || !name || !state || !load || !more) return
  const what = process.state === 'ready' && isLow ? '' : process.state
  setAttributes(group, {
    class: `card is-${process.state}`,
    transform: `translate(${Math.round(x)} ${Math.round(y)})`,
    'aria-label': `${process.id}, ${process.state}`,
  })
  setAttributes(box, { width, height })
  setAttributes(dot, { cx: 13, cy: 15 })
  setAttributes(name, { x: 24, y: 19.5 })
  setText(name, process.id)
  setAttributes(state, { x: width - 10, y: 19.5 })
  setText(state, width < 130 ? '' : what)
  setAttributes(load, { x: 12, y: 34 + (isLow ? 0 : 3) })
  setText(load, loadWords(process, rate))
  setAttributes(more, { x: 12, y: 53 })
  setText(more, isLow ? '' : moreWords(process))
}

function loadWords({ role, load }: ConsoleProcess, rate: RowRate | undefined): string {
  const of = (name: string): string => formatCount(load[name] ?? 0)
  if (role === 'router') return `${of('running')} running, ${of('waiting')} waiting`
  if (role === 'attention') return `${of('sequences')} seqs, ${of('kvTokens')} KV`
  if (role === 'expert-worker') return `${formatCount(rate?.perSecond ?? 0)} rows/s`
  return `${of('queued')} queued`
}

function moreWords({ role, shards, deviceClass, pid }: ConsoleProcess): string {
  if (role === 'expert-worker') return shards.length > 0 ? `shards ${formatRanges(shards)}` : 'no shards'
  return deviceClass === 'none' ? `pid ${pid}` : deviceClass
}

function describeProcess(process: ConsoleProcess): string {
  const { id, role, state, pid, deviceClass, shards, load } = process
  const figures = Object.entries(load).map(([name, value]) => `  ${name}: ${formatCount(value)}`)
  const held = shards.length > 0 ? [`shards: ${formatRanges(shards)}`] : []
  return [`${id} (${role}), ${state}`, `pid: ${pid}`, `device class: ${deviceClass}`, ...held, ...figures].join('\n')
}
