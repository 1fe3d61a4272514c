// The token trees of the chosen request: a bar per step (drafted, of that accepted), and the tree of the newest step, or of
// the one that was clicked.

import type { ConsoleTree } from '../../lib/console/frame.js'
import { originClass } from '../state/colours.js'
import { formatMs, plural, visibleToken } from '../state/format.js'
import type { WatchedState } from '../state/page-state.js'
import { layoutTree, type TreeLayout } from '../state/tree-layout.js'
import { find, makeSvg, pageScale, setAttributes, setText } from './dom.js'
import { explain, type Tooltip } from './tooltip.js'

const NODE = { height: 22, least: 22, character: 7, margin: 12, maxCharacters: 10 } // as wide as its column's texts
const GAP = { x: 20, y: 8 }
const BAR = { width: 9, gap: 2, height: 44 }

export interface TreeView {
  render(watched: WatchedState | undefined): void
}

export function createTreeView(tooltip: Tooltip): TreeView {
  const svg = find('tree', SVGSVGElement)
  const strip = find('tree-steps', SVGSVGElement)
  const note = find('tree-note', HTMLParagraphElement)
  let trees: readonly ConsoleTree[] = []
  let pinned: number | undefined // step
  let drawn: ConsoleTree | undefined

  const present = (): void => {
    const tree = trees.find(({ step }) => step === pinned) ?? trees.at(-1)
    drawStrip(strip, trees, tree)
    if (tree === drawn) return
    drawn = tree
    setText(note, tree === undefined ? 'Shown when the request decodes.' : describe(tree, pinned !== undefined))
    drawTree(svg, tree)
  }

  strip.addEventListener('click', ({ target }) => {
    const step = target instanceof Element ? target.getAttribute('data-step') : null
    const wanted = step === null ? undefined : Number(step)
    pinned = wanted === pinned ? undefined : wanted
    drawn = undefined
    present()
  })
  explain(strip, tooltip, ({ target }) => {
    const step = target instanceof Element ? Number(target.getAttribute('data-step')) : 0
    const tree = trees.find((candidate) => candidate.step === step)
    return tree && describe(tree, false)
  })
  explain(svg, tooltip, ({ target }) => {
    const node = target instanceof Element ? target.closest('[data-node]')?.getAttribute('data-node') : null
    return node === null || node === undefined || drawn === undefined ? undefined : describeNode(drawn, Number(node))
  })

  return {
    render: (watched) => {
      const next = [...(watched?.choices.values() ?? [])][0]?.trees ?? []
      if (next === trees) return
      trees = next
      if (!trees.some(({ step }) => step === pinned)) pinned = undefined
      present()
    },
  }
}

function describe(tree: ConsoleTree, isPinned: boolean): string {
  const { step, nodes, accepted, proposed, price, stepMs, predictedMs, plainMs, draftMs } = tree
  if (nodes.length === 1) return `Step ${step}: no drafts. ${formatMs(stepMs)}.`
  const gained = `${accepted.length - 1} accepted + bonus`
  const size = `${plural(nodes.length - 1, 'node')} of ${proposed} offered`
  const times = `${formatMs(stepMs)} (predicted ${formatMs(predictedMs)}, without drafts ${formatMs(plainMs)}), waited ${formatMs(draftMs)}`
  return `Step ${step}${isPinned ? ' (pinned)' : ''}: ${size}, ${gained} · least value that paid ${price.toFixed(3)} · ${times}`
}

function describeNode({ nodes, accepted }: ConsoleTree, index: number): string {
  const node = nodes[index]
  if (node === undefined) return 'the bonus token: sampled after the accepted path'
  const text = JSON.stringify(node.text)
  if (index === 0) return `${text}\nthe last token before the step`
  const came = accepted.includes(index) ? 'accepted' : 'not accepted'
  return `${text}\n${came}\nproposed by ${node.sources.join(', ')}\nvalue ${node.value.toFixed(3)}`
}

/** One bar per step, the newest on the right. */
function drawStrip(svg: SVGSVGElement, trees: readonly ConsoleTree[], shown: ConsoleTree | undefined): void {
  const width = Math.max(1, trees.length) * (BAR.width + BAR.gap)
  setAttributes(svg, {
    viewBox: `0 0 ${width} ${BAR.height}`,
    width: width * pageScale(),
    height: BAR.height * pageScale(),
  })
  const most = Math.max(4, ...trees.map(({ nodes }) => nodes.length))
  const bars = trees.flatMap((tree, i) => {
    const x = i * (BAR.width + BAR.gap)
    const [whole, part] = [tree.nodes.length, tree.accepted.length].map((count) => (count / most) * (BAR.height - 4))
    const at = { 'data-step': tree.step, x, width: BAR.width }
    return [
      makeSvg('rect', { ...at, y: 0, height: BAR.height, class: tree === shown ? 'bar-back is-shown' : 'bar-back' }),
      makeSvg('rect', { ...at, y: BAR.height - (whole ?? 0), height: whole ?? 0, class: 'bar-drafted' }),
      makeSvg('rect', { ...at, y: BAR.height - (part ?? 0), height: part ?? 0, class: 'bar-accepted' }),
    ]
  })
  svg.replaceChildren(...bars)
}

function drawTree(svg: SVGSVGElement, tree: ConsoleTree | undefined): void {
  if (tree === undefined) {
    svg.replaceChildren()
    return
  }
  const { nodes, accepted, bonus } = tree
  const end = accepted.at(-1) ?? 0
  const parents = [...nodes.map(({ parent }) => parent), ...(bonus === '' ? [] : [end])] // the bonus as a node of its own
  const { rows, places } = layoutTree(parents)
  const texts = parents.map((_, node) => visibleToken(nodes[node]?.text ?? bonus, NODE.maxCharacters))
  const columns = layColumns(texts, places)
  const path = new Set([...accepted, nodes.length])
  const at = (node: number): Box => {
    const { column = 0, row = 0 } = places[node] ?? {}
    const { x, width } = columns[column] ?? { x: 0, width: 0 }
    return { x, y: row * (NODE.height + GAP.y) + 4, width }
  }
  const ways = parents.flatMap((parent, node) => {
    if (node === 0) return []
    const [from, to] = [at(parent), at(node)]
    const start = from.x + from.width
    const middle = (start + to.x) / 2
    const [y1, y2] = [from.y + NODE.height / 2, to.y + NODE.height / 2]
    const d = `M${start} ${y1}C${middle} ${y1} ${middle} ${y2} ${to.x} ${y2}`
    return [makeSvg('path', { d, class: path.has(node) ? 'tree-way is-accepted' : 'tree-way' })]
  })
  const boxes = texts.map((text, node) => drawNode(tree, node, { ...at(node), text, isAccepted: path.has(node) }))
  const last = columns.at(-1) ?? { x: 0, width: 0 }
  const [width, height] = [last.x + last.width + 2, Math.max(4, rows) * (NODE.height + GAP.y) + 8]
  const scale = pageScale()
  setAttributes(svg, { viewBox: `0 0 ${width} ${height}`, width: width * scale, height: height * scale })
  svg.replaceChildren(...ways, ...boxes)
}

interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
}

/** Each column as wide as its longest text. */
function layColumns(texts: readonly string[], places: TreeLayout['places']): Pick<Box, 'x' | 'width'>[] {
  const lengths: number[] = []
  places.forEach(({ column }, node) => {
    lengths[column] = Math.max(lengths[column] ?? 0, [...(texts[node] ?? '')].length)
  })
  let x = 2
  return lengths.map((length) => {
    const width = Math.max(NODE.least, length * NODE.character + NODE.margin)
    x += width + GAP.x
    return { x: x - width - GAP.x, width }
  })
}

function drawNode(
  { nodes }: ConsoleTree,
  index: number,
  { x, y, width, text, isAccepted }: Box & { readonly text: string; readonly isAccepted: boolean },
): SVGElement {
  const node = nodes[index]
  const origin = node === undefined ? 'bonus' : index === 0 ? 'root' : originClass(node.sources.join('+'))
  const group = makeSvg('g', {
    'data-node': index,
    class: `tree-node origin-${origin}${isAccepted ? ' is-accepted' : ''}`,
    transform: `translate(${x} ${y})`,
  })
  const value = node === undefined || index === 0 ? 0 : Math.max(0, Math.min(1, node.value))
  group.append(
    makeSvg('rect', { class: 'node-box', width, height: NODE.height, rx: 5 }),
    makeSvg('rect', { class: 'node-value', x: 2, y: NODE.height - 4, width: value * (width - 4), height: 2.5 }),
    makeSvg('text', { x: 6, y: 14.5 }, text),
  )
  return group
}
