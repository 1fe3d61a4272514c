// Where one step's time went: its parts as one bar, and below it every layer on the step's own time axis. About one step a
// second is told in this detail; the newest is shown until another one is chosen.

import type { ConsoleStep, StepFlow } from '../../lib/console/frame.js'
import { formatMs, plural } from '../state/format.js'
import type { PageState } from '../state/page-state.js'
import { find, make, makeSvg, pageScale, setAttributes, setText, type Attributes } from './dom.js'
import { explain, type Tooltip } from './tooltip.js'

const LEFT = 46 // room for the layers' names
const ROW = { least: 4, most: 18, total: 300 }
const AXIS = 18

export interface Waterfall {
  render(state: PageState): void
}

const PARTS: readonly { readonly field: keyof StepFlow; readonly name: string; readonly title: string }[] = [
  { field: 'draftMs', name: 'draft', title: 'waiting for drafts' },
  { field: 'routerMs', name: 'router', title: 'router' },
  { field: 'hopMs', name: 'hop', title: 'hop to attention' },
  { field: 'attentionMs', name: 'attention', title: 'attention' },
  { field: 'expertHopMs', name: 'expert-hop', title: 'hops to experts' },
  { field: 'expertMs', name: 'expert', title: 'experts' },
  { field: 'headMs', name: 'head', title: 'head and sampling' },
  { field: 'restMs', name: 'rest', title: 'rest' },
]

export function createWaterfall(tooltip: Tooltip): Waterfall {
  const svg = find('waterfall', SVGSVGElement)
  const note = find('waterfall-note', HTMLParagraphElement)
  const list = find('waterfall-parts', HTMLDivElement)
  const live = find('step-live', HTMLButtonElement)
  let steps: readonly ConsoleStep[] = []
  let chosen: ConsoleStep | undefined
  let drawn = ''

  const values = PARTS.map(({ name, title }) => {
    const item = make('span', `part part-${name}`, title)
    const value = make('b')
    item.append(' ', value)
    list.append(item)
    return value
  })

  const draw = (): void => {
    const step = chosen ?? steps.at(-1)
    live.disabled = chosen === undefined
    const key = `${step?.number ?? ''} ${step?.worker ?? ''} ${svg.clientWidth}`
    if (step === undefined || svg.clientWidth === 0 || key === drawn) return
    drawn = key
    setText(note, describe(step))
    PARTS.forEach(({ field }, i) => values[i] && setText(values[i], formatMs(step.flow[field])))
    drawStep(svg, step)
  }

  const move = (by: number): void => {
    const at = chosen === undefined ? steps.length - 1 : steps.indexOf(chosen)
    chosen = steps[Math.min(steps.length - 1, Math.max(0, at + by))]
    draw()
  }
  find('step-older', HTMLButtonElement).addEventListener('click', () => move(-1))
  find('step-newer', HTMLButtonElement).addEventListener('click', () => move(1))
  live.addEventListener('click', () => {
    chosen = undefined
    draw()
  })
  explain(svg, tooltip, ({ target }) =>
    target instanceof Element ? (target.getAttribute('data-says') ?? undefined) : undefined,
  )

  return {
    render: (state) => {
      steps = state.steps
      if (chosen !== undefined && !steps.includes(chosen)) chosen = undefined // too long ago
      draw()
    },
  }
}

function describe({ number, worker, timeMs, flow }: ConsoleStep): string {
  const { sequences, rows, drafted, accepted, emitted } = flow
  const drafts = drafted > 0 ? `, ${accepted} of ${drafted} drafts accepted` : ''
  const when = new Date(timeMs).toLocaleTimeString()
  const size = `${plural(sequences, 'sequence')}, ${plural(rows, 'row')}${drafts}, ${plural(emitted, 'token')}`
  return `Step ${number} on ${worker}, ${when}: ${size} in ${formatMs(flow.durationMs)}`
}

function drawStep(svg: SVGSVGElement, { flow, layers }: ConsoleStep): void {
  const scale = pageScale()
  const width = svg.clientWidth / scale
  const row = Math.min(ROW.most, Math.max(ROW.least, Math.floor(ROW.total / Math.max(1, layers.length))))
  const top = 30
  const height = top + layers.length * row + AXIS
  const totalMs = Math.max(0.001, flow.durationMs)
  const x = (ms: number): number => LEFT + (Math.min(ms, totalMs) / totalMs) * (width - LEFT - 8)
  const bar = (from: number, to: number, place: Attributes, name: string, says: string): SVGElement =>
    makeSvg('rect', {
      x: x(from),
      width: Math.max(0, x(to) - x(from)),
      ...place,
      class: `fill-${name}`,
      'data-says': says,
    })

  let endMs = 0
  const whole = PARTS.map(({ field, name, title }) => {
    const startMs = endMs
    endMs += flow[field]
    return bar(startMs, endMs, { y: 4, height: 16 }, name, `${title}\n${formatMs(flow[field])}`)
  })
  const beganMs = flow.draftMs + flow.routerMs + flow.hopMs / 2 // on the worker, about
  const names = layers.length <= 24 ? layers.map((_, i) => i) : layers.flatMap((_, i) => (i % 8 === 0 ? [i] : []))
  const bars = layers.flatMap(([startMs, attentionMs, waitMs, computeMs], layer) => {
    const place = { y: top + layer * row, height: Math.max(2, row - 2) }
    const askedMs = beganMs + startMs + attentionMs
    const hopMs = Math.max(0, waitMs - computeMs)
    const says = (what: string, ms: number): string => `layer ${layer}: ${what}\n${formatMs(ms)}`
    return [
      bar(beganMs + startMs, askedMs, place, 'attention', says('attention', attentionMs)),
      bar(askedMs, askedMs + waitMs, place, 'expert-hop', says('hops and waiting for experts', hopMs)),
      bar(
        askedMs + hopMs / 2,
        askedMs + hopMs / 2 + Math.min(computeMs, waitMs),
        place,
        'expert',
        says('slowest expert worker', computeMs),
      ),
    ]
  })
  const labels = names.map((layer) =>
    makeSvg(
      'text',
      { x: LEFT - 6, y: top + layer * row + row / 2 + 3, 'text-anchor': 'end', class: 'axis-text' },
      `L${layer}`,
    ),
  )
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) =>
    makeSvg(
      'text',
      {
        x: x(share * totalMs),
        y: height - 4,
        'text-anchor': share === 0 ? 'start' : share === 1 ? 'end' : 'middle',
        class: 'axis-text',
      },
      formatMs(share * totalMs),
    ),
  )
  setAttributes(svg, { viewBox: `0 0 ${width} ${height}`, height: height * scale })
  svg.replaceChildren(
    makeSvg('text', { x: LEFT - 6, y: 16, 'text-anchor': 'end', class: 'axis-text' }, 'step'),
    ...whole,
    ...bars,
    ...labels,
    ...ticks,
  )
}
