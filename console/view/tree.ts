// The token trees of the chosen request: a bar per step (drafted, of that accepted), and the tree of the newest step, or of
// the one that was clicked.

import type { ConsoleTree } from '../../lib/console/frame.js'
import { originClass } from '../state/colours.js'
import { formatMs, visibleToken } from '../state/format.js'
import type { WatchedState } from '../state/page-state.js'
import { layoutTree } from '../state/tree-layout.js'
import { find, makeSvg, pageScale, setAttributes, setText } from './dom.js'
import { explain, type Tooltip } from './tooltip.js'

const CELL = { width: 104, height: 30 }
const NODE = { width: 82, height: 22, characters: 10 }
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
  const size = `${nodes.length - 1} nodes of ${proposed} offered`
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
  const last = accepted.at(-1) ?? 0
  const parents = [...nodes.map(({ parent }) => parent), ...(bonus === '' ? [] : [last])] // the bonus as a node of its own
  const { columns, rows, places } = layoutTree(parents)
  const path = new Set([...accepted, nodes.length])
  const at = (node: number): readonly [number, number] => {
    const { column = 0, row = 0 } = places[node] ?? {}
    return [column * CELL.width + 2, row * CELL.height + 4]
  }
  const ways = parents.flatMap((parent, node) => {
    if (node === 0) return []
    const [[x1, y1], [x2, y2]] = [at(parent), at(node)]
    const [from, mid] = [x1 + NODE.width, (x1 + NODE.width + x2) / 2]
    const [fromY, toY] = [y1 + NODE.height / 2, y2 + NODE.height / 2]
    const d = `M${from} ${fromY}C${mid} ${fromY} ${mid} ${toY} ${x2} ${toY}`
    return [makeSvg('path', { d, class: path.has(node) ? 'tree-way is-accepted' : 'tree-way' })]
  })
  const boxes = parents.map((_, node) => drawNode(tree, node, at(node), path.has(node)))
  const [width, height] = [columns * CELL.width, Math.max(4, rows) * CELL.height + 8]
  setAttributes(svg, { viewBox: `0 0 ${width} ${height}`, width: width * pageScale(), height: height * pageScale() })
  svg.replaceChildren(...ways, ...boxes)
}

function drawNode(
  { nodes, bonus }: ConsoleTree,
  index: number,
  [x, y]: readonly [number, number],
  isAccepted: boolean,
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
    makeSvg('rect', { class: 'node-box', width: NODE.width, height: NODE.height, rx: 5 }),
    makeSvg('rect', { class: 'node-value', x: 2, y: NODE.height - 4, width: value * (NODE.width - 4), height: 2.5 }),
    makeSvg('text', { x: 6, y: 14.5 }, visibleToken(node?.text ?? bonus, NODE.characters)),
  )
  return group
}
