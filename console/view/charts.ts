// Latencies and load over the last ten minutes.

import type { SeriesPoint } from '../../lib/console/frame.js'
import { formatCount } from '../state/format.js'
import type { PageState } from '../state/page-state.js'
import uPlot from '../vendor/uplot.js'
import { find, make, pageScale } from './dom.js'
import type { Theme } from './theme.js'

const HEIGHT = 150

interface Line {
  readonly label: string
  readonly colour: string // CSS variable
  readonly value: (point: SeriesPoint) => number | null
  readonly scale?: string
}

interface Chart {
  readonly title: string
  readonly unit: string
  readonly lines: readonly Line[]
}

const CHARTS: readonly Chart[] = [
  {
    title: 'Time to first token',
    unit: 'ms',
    lines: [
      { label: 'p50', colour: 'line-1', value: ({ ttftP50 }) => ttftP50 },
      { label: 'p95', colour: 'line-2', value: ({ ttftP95 }) => ttftP95 },
    ],
  },
  {
    title: 'Time between tokens',
    unit: 'ms',
    lines: [
      { label: 'p50', colour: 'line-1', value: ({ itlP50 }) => itlP50 },
      { label: 'p95', colour: 'line-2', value: ({ itlP95 }) => itlP95 },
    ],
  },
  {
    title: 'Tokens per second',
    unit: '',
    lines: [{ label: 'tokens/s', colour: 'line-3', value: ({ tokensPerSecond }) => tokensPerSecond }],
  },
  {
    title: 'Sequences, and KV in use',
    unit: '',
    lines: [
      { label: 'running', colour: 'line-1', value: ({ running }) => running },
      { label: 'waiting', colour: 'line-2', value: ({ waiting }) => waiting },
      { label: 'KV %', colour: 'line-4', value: ({ kvUsage }) => kvUsage * 100, scale: '%' },
    ],
  },
]

export interface Charts {
  render(state: PageState): void
}

export function createCharts(theme: Theme): Charts {
  const root = find('charts', HTMLDivElement)
  const boxes = CHARTS.map(({ title }) => {
    const box = make('div', 'chart')
    box.append(make('h3', '', title))
    root.append(box)
    return box
  })
  let plots: uPlot[] = []
  let shown: readonly SeriesPoint[] | undefined

  const rebuild = (): void => {
    for (const plot of plots) plot.destroy()
    plots = CHARTS.map((chart, i) => new uPlot(describe(chart, theme), [[], ...chart.lines.map(() => [])], boxes[i]))
    shown = undefined
    resize()
  }
  const resize = (): void =>
    plots.forEach((plot, i) =>
      plot.setSize({ width: Math.max(160, boxes[i]?.clientWidth ?? 0), height: HEIGHT * pageScale() }),
    )

  rebuild()
  new ResizeObserver(resize).observe(root)
  theme.onChange(rebuild)
  return {
    render: ({ points }) => {
      if (points === shown) return
      shown = points
      const times = points.map(({ timeMs }) => timeMs / 1_000)
      CHARTS.forEach(({ lines }, i) => {
        const plot = plots[i]
        plot?.setData([times, ...lines.map(({ value }) => points.map(value))])
        if (typeof plot?.cursor.idx !== 'number') plot?.setLegend({ idx: points.length - 1 }) // nobody points at one
      })
    },
  }
}

function describe({ unit, lines }: Chart, theme: Theme): uPlot.Options {
  const scale = pageScale()
  const grid = { stroke: theme.colour('grid'), width: 1 }
  const axis = {
    stroke: theme.colour('muted'),
    grid,
    ticks: { show: false },
    font: `${11 * scale}px system-ui, sans-serif`,
  }
  const number = (_: uPlot, values: readonly (number | null)[]): string[] =>
    values.map((value) => (value === null ? '' : formatCount(value)))
  const hasShare = lines.some(({ scale }) => scale === '%')
  return {
    width: 300,
    height: HEIGHT,
    padding: [8, hasShare ? 0 : 10, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range: fromZero }, ...(hasShare && { '%': { range: [0, 100] } }) },
    axes: [
      { ...axis, size: 34 * scale },
      { ...axis, size: 44 * scale, values: number },
      ...(hasShare
        ? [{ ...axis, scale: '%', side: 1 as const, size: 40 * scale, values: number, grid: { show: false } }]
        : []),
    ],
    series: [
      { label: 'time', value: (_, time) => (time === null ? '–' : new Date(time * 1_000).toLocaleTimeString()) },
      ...lines.map(({ label, colour, scale }) => ({
        label,
        stroke: theme.colour(colour),
        width: 1.5,
        spanGaps: true,
        points: { show: false },
        scale: scale ?? 'y',
        value: (_: uPlot, value: number | null) => (value === null ? '–' : `${formatCount(value)} ${unit}`.trim()),
      })),
    ],
  }
}

const fromZero = (_: uPlot, __: number, most: number | null): [number, number] => [0, Math.max(1, (most ?? 0) * 1.1)]
