// Charts as SVG text: no script, no font, no file of anyone else's. Colours are the page's variables, so that light and
// dark are one drawing. A chart of nothing is no chart: an empty text.

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Series {
  readonly label: string
  readonly color: string // a class of the page, e.g. 'a'
  readonly points: readonly Point[]
}

export interface ChartOptions {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly showX?: (value: number) => string
  readonly showY?: (value: number) => string
  readonly xMax?: number
  readonly yMax?: number
}

const WIDTH = 560
const WIDE = 1150
const HEIGHT = 250
const LEFT = 58
const RIGHT = 14
const TOP = 12
const BOTTOM = 40
const MAX_COLUMNS = 1500 // of a series' points: more cannot be told apart, and make the file heavy

export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** Evenly taken, first and last among them. */
function thin<T>(items: readonly T[], most: number): readonly T[] {
  if (items.length <= most) return items
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))]).filter(
    (item): item is T => item !== undefined,
  )
}

/** Of many points the lowest and the highest of each column, in their order: what stands out stays. */
export function extremes(points: readonly Point[], numColumns = MAX_COLUMNS): readonly Point[] {
  if (points.length <= 2 * numColumns) return points
  const width = (most(points.map(({ x }) => x)) || 1) / numColumns
  const columns = new Map<number, { low: number; high: number }>() // indices of points
  for (const [i, { x, y }] of points.entries()) {
    const column = Math.floor(x / width)
    const { low, high } = columns.get(column) ?? { low: i, high: i }
    columns.set(column, {
      low: y < (points[low]?.y ?? Infinity) ? i : low,
      high: y >= (points[high]?.y ?? -Infinity) ? i : high,
    })
  }
  const kept = new Set([...columns.values()].flatMap(({ low, high }) => [low, high]))
  return points.filter((_, i) => kept.has(i) || i === 0 || i === points.length - 1)
}

const most = (values: readonly number[]): number => values.reduce((high, value) => Math.max(high, value), 0)

/** A round number at or above the value: 1, 2, 2.5 or 5 times a power of ten, times the number of ticks. */
function niceStep(max: number, ticks: number): number {
  const raw = max > 0 ? max / ticks : 1
  const power = 10 ** Math.floor(Math.log10(raw))
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power
}

const round = (value: number): string => String(Math.round(value * 10) / 10)

export function formatTick(value: number): string {
  if (value >= 1e6) return `${Math.round(value / 1e4) / 100}M`
  if (value >= 1e4) return `${Math.round(value / 100) / 10}k`
  return String(Math.round(value * 1000) / 1000)
}

interface Size {
  readonly width: number
  readonly height: number
}

const SIZE: Size = { width: WIDTH, height: HEIGHT }

interface Scale {
  readonly x: (value: number) => number
  readonly y: (value: number) => number
  readonly axes: string
}

function scaleOf(
  { xLabel, yLabel, showX = formatTick, showY = formatTick }: ChartOptions,
  xMax: number,
  yMax: number,
  size = SIZE,
): Scale {
  const { width, height } = size
  const xStep = niceStep(xMax, 6)
  const yStep = niceStep(yMax, 4)
  const xEnd = xMax || 1
  const yEnd = Math.max(yStep, Math.ceil(yMax / yStep - 1e-9) * yStep)
  const x = (value: number): number => LEFT + ((width - LEFT - RIGHT) * value) / xEnd
  const y = (value: number): number => height - BOTTOM - ((height - TOP - BOTTOM) * value) / yEnd
  const lines: string[] = []
  for (let value = 0; value <= yEnd * 1.0001; value += yStep) {
    lines.push(
      `<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${round(y(value))}" y2="${round(y(value))}"/>`,
      `<text class="tick" x="${LEFT - 6}" y="${round(y(value) + 3.5)}" text-anchor="end">${escapeHtml(showY(value))}</text>`,
    )
  }
  for (let value = 0; value <= xEnd * 1.0001; value += xStep)
    lines.push(
      `<text class="tick" x="${round(x(value))}" y="${height - BOTTOM + 16}" text-anchor="middle">${escapeHtml(showX(value))}</text>`,
    )
  lines.push(
    `<text class="label" x="${(LEFT + width - RIGHT) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(xLabel)}</text>`,
    `<text class="label" transform="translate(13 ${(TOP + height - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(yLabel)}</text>`,
  )
  return { x, y, axes: lines.join('') }
}

interface FigureOptions {
  readonly legend?: string
  readonly size?: Size
}

function figure(title: string, content: string, { legend = '', size = SIZE }: FigureOptions = {}): string {
  const { width, height } = size
  return (
    `<figure${width > WIDTH ? ' class="wide"' : ''}><figcaption>${escapeHtml(title)}${legend}</figcaption>` +
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${content}</svg></figure>`
  )
}

const legendOf = (series: readonly Series[]): string =>
  series.length < 2
    ? ''
    : `<span class="legend">${series.map(({ label, color }) => `<i class="${color}"></i>${escapeHtml(label)}`).join(' ')}</span>`

function boundsOf(series: readonly Series[], options: ChartOptions): readonly [number, number] {
  const all = series.flatMap(({ points }) => points)
  return [options.xMax ?? most(all.map(({ x }) => x)), options.yMax ?? most(all.map(({ y }) => y))]
}

const withPoints = (series: readonly Series[]): readonly Series[] => series.filter(({ points }) => points.length > 0)

export function scatter(all: readonly Series[], options: ChartOptions): string {
  const series = withPoints(all)
  if (series.length === 0) return ''
  const { x, y, axes } = scaleOf(options, ...boundsOf(series, options))
  const dots = series.map(
    ({ color, points }) =>
      `<g class="dots ${color}">${extremes(points)
        .map((point) => `<circle cx="${round(x(point.x))}" cy="${round(y(point.y))}" r="2.4"/>`)
        .join('')}</g>`,
  )
  return figure(options.title, axes + dots.join(''), { legend: legendOf(series) })
}

export function lines(all: readonly Series[], options: ChartOptions & { readonly isStepped?: boolean }): string {
  const series = withPoints(all)
  if (series.length === 0) return ''
  const { x, y, axes } = scaleOf(options, ...boundsOf(series, options))
  const paths = series.map(({ color, points }) => {
    const path = extremes(points).map((point, i) => {
      const [px, py] = [round(x(point.x)), round(y(point.y))]
      if (i === 0) return `M${px} ${py}`
      return options.isStepped === true ? `H${px}V${py}` : `L${px} ${py}`
    })
    return `<path class="line ${color}" d="${path.join('')}"/>`
  })
  return figure(options.title, axes + paths.join(''), { legend: legendOf(series) })
}

export interface Bar {
  readonly label: string
  readonly value: number
  readonly title: string
}

export function bars(items: readonly Bar[], options: ChartOptions): string {
  if (items.every(({ value }) => value === 0)) return ''
  const { y, axes } = scaleOf(options, 0, options.yMax ?? most(items.map(({ value }) => value)))
  const room = (WIDTH - LEFT - RIGHT) / Math.max(1, items.length)
  const longest = most(items.map(({ label }) => label.length))
  const everyNth = Math.ceil((7 * longest + 8) / room) // label has room
  const drawn = items.map(({ label, value, title }, i) => {
    const left = LEFT + i * room
    const bar = `<rect x="${round(left + room * 0.1)}" y="${round(y(value))}" width="${round(room * 0.8)}" height="${round(y(0) - y(value))}"><title>${escapeHtml(title)}</title></rect>`
    const text = `<text class="tick" x="${round(left + room / 2)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${escapeHtml(label)}</text>`
    return i % everyNth === 0 ? bar + text : bar
  })
  const withoutTicks = axes.replace(/<text class="tick"[^>]*text-anchor="middle">[^<]*<\/text>/g, '')
  return figure(options.title, `${withoutTicks}<g class="bars a">${drawn.join('')}</g>`)
}

export interface Lane {
  readonly startMs: number
  readonly firstMs: number | undefined // of the first output
  readonly endMs: number
  readonly ending: 'whole' | 'failed' | 'cancelled'
  readonly title: string
}

const LANES = 240
const ENDINGS = { whole: undefined, failed: 'bad', cancelled: 'soft' } as const

/** One bar per request, in order: what it waited for its first output pale, what it streamed full. */
export function timeline(all: readonly Lane[], options: ChartOptions): string {
  const lanes = thin(all, LANES)
  const height = Math.max(HEIGHT, TOP + BOTTOM + lanes.length * 3)
  const xMax = most(all.map(({ endMs }) => endMs)) / 1000
  const { x, axes } = scaleOf(options, xMax, all.length, { width: WIDE, height })
  const room = (height - TOP - BOTTOM) / Math.max(1, lanes.length)
  const bar = (from: number, to: number, i: number, name: string): string =>
    `<rect class="${name}" x="${round(x(from / 1000))}" width="${round(Math.max(0.6, x(to / 1000) - x(from / 1000)))}" y="${round(TOP + i * room)}" height="${round(Math.max(0.8, room * 0.8))}"/>`
  const drawn = lanes.map(({ startMs, firstMs, endMs, ending, title }, i) => {
    const waited = bar(startMs, firstMs ?? endMs, i, ENDINGS[ending] ?? 'wait')
    const streamed = firstMs === undefined ? '' : bar(firstMs, endMs, i, ENDINGS[ending] ?? 'stream')
    return `<g>${waited}${streamed}<title>${escapeHtml(title)}</title></g>`
  })
  const noRows = axes.replace(/<text class="tick"[^>]*text-anchor="end">[^<]*<\/text>|<line class="grid"[^>]*\/>/g, '')
  const caption = `${options.title}${lanes.length < all.length ? ` (${lanes.length} of ${all.length})` : ''}`
  const endings = (['failed', 'cancelled'] as const).filter((ending) => all.some((lane) => lane.ending === ending))
  const others = endings.map((ending) => ` <i class="${ENDINGS[ending]}"></i>${ending}`).join('')
  const legend = `<span class="legend"><i class="wait"></i>to the first output <i class="stream"></i>streaming${others}</span>`
  return figure(caption, noRows + drawn.join(''), { legend, size: { width: WIDE, height } })
}

/** Rows of cells, each as strong as its value among all. */
export function heatMap(
  rows: readonly (readonly number[])[],
  options: ChartOptions & { readonly cellTitle: (row: number, column: number) => string },
): string {
  if (rows.every((row) => row.every((value) => value === 0))) return ''
  const columns = most(rows.map((row) => row.length))
  const height = Math.max(120, TOP + BOTTOM + rows.length * 18)
  const [width, tall] = [
    (WIDTH - LEFT - RIGHT) / Math.max(1, columns),
    (height - TOP - BOTTOM) / Math.max(1, rows.length),
  ]
  const high = most(rows.flat())
  const cells = rows.flatMap((row, i) =>
    row.map(
      (value, j) =>
        `<rect class="heat" x="${round(LEFT + j * width)}" y="${round(TOP + i * tall)}" width="${round(width - 0.6)}" height="${round(tall - 0.6)}" fill-opacity="${round2(0.06 + (0.94 * value) / high)}"><title>${escapeHtml(options.cellTitle(i, j))}: ${formatTick(value)}</title></rect>`,
    ),
  )
  const labels =
    `<text class="label" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>` +
    `<text class="label" transform="translate(13 ${(TOP + height - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(options.yLabel)}</text>` +
    rows
      .map(
        (_, i) =>
          `<text class="tick" x="${LEFT - 6}" y="${round(TOP + (i + 0.5) * tall + 3.5)}" text-anchor="end">${i}</text>`,
      )
      .join('') +
    `<text class="tick" x="${LEFT}" y="${height - BOTTOM + 16}">0</text><text class="tick" x="${WIDTH - RIGHT}" y="${height - BOTTOM + 16}" text-anchor="end">${columns - 1}</text>`
  return figure(options.title, labels + cells.join(''), { size: { width: WIDTH, height } })
}

const round2 = (value: number): string => String(Math.round(value * 100) / 100)
