// Experts by layer: how many rows each computed over the last half minute. A canvas, because 64 layers of 256 experts are
// more cells than a page wants elements.

import { heatColour } from '../state/colours.js'
import { imbalance } from '../state/expert-window.js'
import { formatCount } from '../state/format.js'
import type { PageState } from '../state/page-state.js'
import { find, setText } from './dom.js'
import type { Theme } from './theme.js'
import { explain, type Tooltip } from './tooltip.js'

const MAX_HEIGHT = 360
const CELL = { least: 4, most: 44 } // height of a layer

export interface HeatMap {
  render(state: PageState): void
}

export function createHeatMap(theme: Theme, tooltip: Tooltip): HeatMap {
  const canvas = find('experts', HTMLCanvasElement)
  const note = find('experts-note', HTMLParagraphElement)
  let shown: PageState['experts'] | undefined
  let drawn = '' // what the picture is of

  explain(canvas, tooltip, ({ offsetX, offsetY }) => {
    if (shown === undefined || shown.columns === 0) return undefined
    const { sums, columns } = shown
    const layers = sums.length / columns
    const layer = Math.floor((offsetY / canvas.clientHeight) * layers)
    const expert = Math.floor((offsetX / canvas.clientWidth) * columns)
    const rows = sums[layer * columns + expert]
    if (rows === undefined) return undefined
    const all = layerRows(shown, layer).reduce((sum, count) => sum + count, 0)
    const share = all === 0 ? 0 : (rows / all) * 100
    return `layer ${layer}, expert ${expert}\n${formatCount(rows)} rows, ${share.toFixed(1)} % of the layer's`
  })

  return {
    render: ({ experts }) => {
      const key = `${theme.name} ${canvas.clientWidth} ${devicePixelRatio}`
      if (experts === shown && key === drawn) return
      shown = experts
      drawn = key
      setText(note, describe(experts))
      if (experts.columns > 0) draw(canvas, experts, theme.name)
    },
  }
}

const layerRows = ({ sums, columns }: PageState['experts'], layer: number): readonly number[] =>
  sums.slice(layer * columns, (layer + 1) * columns)

function describe(experts: PageState['experts']): string {
  if (experts.columns === 0) return 'Shown as soon as a step has run.'
  const layers = Array.from({ length: experts.sums.length / experts.columns }, (_, layer) => layer)
  const uneven = layers.map((layer) => imbalance(layerRows(experts, layer)))
  const worst = uneven.indexOf(Math.max(...uneven))
  const most = formatCount(Math.max(...experts.sums))
  const busiest = `busiest expert ${most} rows`
  return `${layers.length} layers × ${experts.columns} experts, last 30 s · ${busiest} · least even: layer ${worst}, ${(uneven[worst] ?? 0).toFixed(1)} × its mean`
}

/** A pixel per cell, enlarged without smoothing; then gaps where cells are large enough to tell. */
function draw(canvas: HTMLCanvasElement, { sums, columns }: PageState['experts'], theme: 'dark' | 'light'): void {
  const layers = sums.length / columns
  const cell = Math.min(CELL.most, Math.max(CELL.least, Math.floor(MAX_HEIGHT / layers)))
  const height = layers * cell
  canvas.style.height = `${height}px`
  const width = canvas.clientWidth
  canvas.width = Math.round(width * devicePixelRatio)
  canvas.height = Math.round(height * devicePixelRatio)
  const context = canvas.getContext('2d')
  if (context === null) return
  const most = Math.max(1, ...sums)
  const edge = (index: number, count: number, size: number): number => Math.floor((index * size) / count) // whole pixels
  const gap = Math.min(canvas.width / columns, canvas.height / layers) > 8 * devicePixelRatio ? devicePixelRatio : 0
  for (let i = 0; i < sums.length; i++) {
    const [red, green, blue] = heatColour(Math.sqrt((sums[i] ?? 0) / most), theme)
    context.fillStyle = `rgb(${red} ${green} ${blue})`
    const [column, layer] = [i % columns, Math.floor(i / columns)]
    const [left, top] = [edge(column, columns, canvas.width), edge(layer, layers, canvas.height)]
    const [right, bottom] = [edge(column + 1, columns, canvas.width), edge(layer + 1, layers, canvas.height)]
    context.fillRect(left, top, right - left - gap, bottom - top - gap)
  }
}
