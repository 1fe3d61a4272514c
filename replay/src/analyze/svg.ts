// Small pictures for a page: bars and a line, drawn with the page's own colours.

const WIDTH = 640
const HEIGHT = 200
const LEFT = 48
const BOTTOM = 28
const TOP = 10
const TICKS = 4

export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

export interface Bar {
  readonly label: string // under the bar, where there is room
  readonly title: string // when pointed at
  readonly value: number
}

export interface Axis {
  readonly show: (value: number) => string
  readonly label: string
}

const frame = (most: number, { show, label }: Axis, inside: string): string => {
  const ticks = Array.from({ length: TICKS + 1 }, (_, i) => (most * i) / TICKS)
  const grid = ticks.map((value) => {
    const y = heightOf(value, most)
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH}" y1="${y}" y2="${y}"/><text x="${LEFT - 6}" y="${y + 4}" text-anchor="end">${escapeHtml(show(value))}</text>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(label)}">${grid.join('')}${inside}</svg>`
}

const heightOf = (value: number, most: number): number => TOP + (1 - value / (most || 1)) * (HEIGHT - TOP - BOTTOM)

/** One bar per value, from 0. */
export function barChart(bars: readonly Bar[], axis: Axis): string {
  const most = Math.max(0, ...bars.map(({ value }) => value))
  const step = (WIDTH - LEFT) / Math.max(1, bars.length)
  const everyNth = Math.ceil(bars.length / 8)
  const inside = bars.map(({ label, title, value }, i) => {
    const [x, y] = [LEFT + i * step, heightOf(value, most)]
    const bar = `<rect class="bar" x="${(x + step * 0.05).toFixed(1)}" y="${y.toFixed(1)}" width="${(step * 0.9).toFixed(1)}" height="${(HEIGHT - BOTTOM - y).toFixed(1)}"><title>${escapeHtml(title)}</title></rect>`
    const text = `<text x="${(x + step / 2).toFixed(1)}" y="${HEIGHT - 10}" text-anchor="middle">${escapeHtml(label)}</text>`
    return i % everyNth === 0 ? bar + text : bar
  })
  return frame(most, axis, inside.join(''))
}

export interface Point {
  readonly x: number
  readonly y: number // 0 and more
}

/** A line through points of ascending x. */
export function lineChart(points: readonly Point[], axis: Axis, showX: (value: number) => string): string {
  const [first, last] = [points[0]?.x ?? 0, points.at(-1)?.x ?? 1]
  const most = Math.max(0, ...points.map(({ y }) => y))
  const place = ({ x, y }: Point): string =>
    `${(LEFT + ((x - first) / (last - first || 1)) * (WIDTH - LEFT)).toFixed(1)},${heightOf(y, most).toFixed(1)}`
  const line = `<polyline class="line" points="${points.map(place).join(' ')}"/>`
  const ends = `<text x="${LEFT}" y="${HEIGHT - 10}">${escapeHtml(showX(first))}</text><text x="${WIDTH}" y="${HEIGHT - 10}" text-anchor="end">${escapeHtml(showX(last))}</text>`
  return frame(most, axis, line + ends)
}
