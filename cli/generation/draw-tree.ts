// Draws the token tree of a step: a headline, then the tree from left to right. The accepted path is the first branch
// everywhere, so that it reads as the text that came of it.
//
// Invariants
//   W1  Every node is drawn once, with the estimated probability that the path to it is accepted.
//   W2  Nodes without siblings share a line with their parent; a branch goes below where it does not fit beside.
//   W3  Nothing of a token reaches the terminal as a control character.

import type { StepTree } from '../../sdk/src/index.js'
import { paint, piece, widthOf, wrap, type Line, type Piece, type Style } from './styled-text.js'

export interface DrawOptions {
  readonly title: string // names the step
  readonly color: boolean
  readonly width: number // columns of the terminal
}

const ARROW = ' → '
const DOT = piece(' · ', 'dim')
const BODY_INDENT = 2
const BREAK_INDENT = 4
const BRANCH_WIDTH = 4 // of a corner, its arrow and the space before them
const MAX_TOKEN_LENGTH = 24

/** One step with its tree. */
export function drawTree(tree: StepTree, options: DrawOptions): string {
  const numGained = gained(tree)
  const title = [
    piece(options.title, 'bold'),
    piece(`  +${count(numGained, 'token')}`, numGained > 1 ? 'accepted' : 'bold'),
  ]
  const facts = [
    `${tree.nodes.length - 1} of ${count(tree.proposed, 'node')}`,
    `price ${percent(tree.price)}`,
    `${milliseconds(tree.stepMs)}${predictions(tree)}`,
    `draft ${milliseconds(tree.draftMs)}`,
  ]
  const headline = wrap([title, ...facts.map((fact) => [piece(fact)])], {
    separator: DOT,
    width: options.width,
    indent: BREAK_INDENT,
  })
  const body = layOut(runFrom(0, lookAt(tree, options)), options.width - BODY_INDENT)
  return paint([...headline, ...body.map((line) => [piece(' '.repeat(BODY_INDENT)), ...line])], options)
}

/** Steps in a row that sent no draft, as one line. */
export function drawPlainSteps(trees: readonly StepTree[], options: DrawOptions): string {
  const sum = (value: (tree: StepTree) => number): number => trees.reduce((total, tree) => total + value(tree), 0)
  const proposed = sum((tree) => tree.proposed)
  const facts = [
    `${options.title}  +${count(sum(gained), 'token')}`,
    proposed === 0 ? 'no drafts' : `0 of ${count(proposed, 'node')}`,
    `${milliseconds(sum(({ stepMs }) => stepMs) / trees.length)}${trees.length > 1 ? ' each' : ''}`,
  ]
  return paint([[piece(facts.join(DOT.text), 'dim')]], options)
}

/** What the signs mean. */
export function drawLegend(sources: readonly string[], { color, width }: Omit<DrawOptions, 'title'>): string {
  const facts = [
    '91% estimated chance that the path is accepted',
    'price: least chance at which a node pays',
    'plain: without drafts',
    ...sources.map((name) => `${abbreviate(name)}: ${name}`),
  ]
  const items = [[piece(color ? 'accepted' : '✓ accepted', 'accepted')], ...facts.map((fact) => [piece(fact, 'dim')])]
  return paint(wrap(items, { separator: DOT, width, indent: 0 }), { color })
}

/** Whether nothing was drafted for the step, or nothing that paid. */
export const isPlainStep = ({ nodes }: StepTree): boolean => nodes.length < 2

/** Tokens that came of the step: the accepted drafts and the model's own. */
const gained = ({ accepted }: StepTree): number => accepted.filter((node) => node > 0).length + 1

/** A tree with what drawing it asks again and again. */
interface Look {
  readonly tree: StepTree
  readonly accepted: ReadonlySet<number>
  readonly children: readonly (readonly number[])[] // the accepted one first, then the likeliest
  readonly color: boolean
}

function lookAt(tree: StepTree, { color }: DrawOptions): Look {
  const { nodes } = tree
  const accepted = new Set([0, ...tree.accepted])
  const rank = (node: number): number => (accepted.has(node) ? Infinity : (nodes[node]?.value ?? 0))
  const children = nodes.map((_, parent) =>
    nodes
      .flatMap((node, i) => (node.parent === parent && i > parent ? [i] : []))
      .sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a))),
  )
  return { tree, accepted, children, color }
}

/** Nodes up to the next branch, or to a leaf. */
interface Run {
  readonly isAccepted: boolean // its first node
  readonly items: readonly Line[] // one per node, arrows included
  readonly width: number // on one line
  readonly wholeWidth: number // with its branches beside it
  readonly branches: readonly Run[]
}

function runFrom(first: number, look: Look): Run {
  const nodes = [first]
  let next = look.children[first] ?? []
  for (let [only] = next; only !== undefined && next.length === 1; [only] = next) {
    nodes.push(only)
    next = look.children[only] ?? []
  }
  const items = nodes.map((node, i) => drawNode(node, nodes[i - 1], look))
  const width = items.reduce((sum, item) => sum + widthOf(item), ARROW.length * (items.length - 1))
  const branches = next.map((node) => runFrom(node, look))
  const widest = Math.max(0, ...branches.map(({ wholeWidth }) => BRANCH_WIDTH + wholeWidth))
  return { isAccepted: look.accepted.has(first), items, width, wholeWidth: width + widest, branches }
}

/** The token, its value, and its sources where they are not those of the node before it on the line. */
function drawNode(node: number, before = 0, { tree, accepted, color }: Look): Line {
  const { token, text, value, sources } = tree.nodes[node] ?? { token: 0, text: '', value: 0, sources: [] }
  const name = text === '' ? `#${token}` : quote(text)
  if (node === 0) return [piece(name, 'bold')]
  const isAccepted = accepted.has(node)
  const from = sources.map(abbreviate).join('+')
  const isKnown = before > 0 && tree.nodes[before]?.sources.map(abbreviate).join('+') === from
  return [
    piece(isAccepted && !color ? `✓${name}` : name, isAccepted ? 'accepted' : 'plain'),
    piece(` ${percent(value)}${isKnown || from === '' ? '' : ` ${from}`}`, 'dim'),
  ]
}

function layOut(run: Run, room: number): Line[] {
  const fits = run.wholeWidth <= room
  const lines = wrap(run.items, { separator: piece(ARROW, 'dim'), width: fits ? Infinity : room, indent: BREAK_INDENT })
  if (run.branches.length === 0) return lines
  return fits ? beside(lines[0] ?? [], run, room) : [...lines, ...below(run, room)]
}

/** The first branch goes on where the run ends, the others under it. */
function beside(line: Line, { width, branches }: Run, room: number): Line[] {
  return branches.flatMap((branch, i) => {
    const [first = [], ...others] = layOut(branch, room - width - BRANCH_WIDTH)
    const isLast = i === branches.length - 1
    const start = i === 0 ? line : [piece(' '.repeat(width))]
    const corner = i === 0 ? '┬' : isLast ? '└' : '├'
    const bar = [piece(' '.repeat(width)), piece(isLast ? '    ' : ' │  ', 'dim')]
    return [[...start, ...connector(corner, branch), ...first], ...others.map((other) => [...bar, ...other])]
  })
}

function below({ branches }: Run, room: number): Line[] {
  return branches.flatMap((branch, i) => {
    const [first = [], ...others] = layOut(branch, room - BRANCH_WIDTH)
    const isLast = i === branches.length - 1
    const bar = piece(isLast ? '    ' : ' │  ', 'dim')
    return [[...connector(isLast ? '└' : '├', branch), ...first], ...others.map((other) => [bar, ...other])]
  })
}

function connector(corner: string, { isAccepted }: Run): Piece[] {
  const style: Style = isAccepted ? 'accepted' : 'dim'
  return [piece(` ${corner}→ `, style)]
}

/** As JSON writes it, without anything that a terminal would act on or hide. */
function quote(text: string): string {
  const chars = [...text]
  const shown = chars.length > MAX_TOKEN_LENGTH ? `${chars.slice(0, MAX_TOKEN_LENGTH - 1).join('')}…` : text
  return JSON.stringify(shown).replaceAll(/[\p{C}\p{Z}]/gu, (char) => (char === ' ' ? char : escaped(char)))
}

const escaped = (char: string): string =>
  Array.from({ length: char.length }, (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')

/** prompt-lookup: pl; suffix: suf. */
const abbreviate = (source: string): string => {
  const words = source.split('-')
  return words.length > 1 ? words.map((word) => word.slice(0, 1)).join('') : source.slice(0, 3)
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`

const percent = (share: number): string => (share > 0 && share < 0.005 ? '<1%' : `${Math.round(share * 100)}%`)

const decimal = (ms: number): string => ms.toFixed(ms < 10 ? 1 : 0)

const milliseconds = (ms: number): string => `${decimal(ms)} ms`

function predictions({ predictedMs, plainMs }: StepTree): string {
  if (predictedMs === 0) return ''
  return ` (predicted ${decimal(predictedMs)}${plainMs === 0 ? '' : `, plain ${decimal(plainMs)}`})`
}
