// The chosen request's text as it grows, each token in the colour of how it came. Only what is new is added; of a long
// text the older tokens become one piece without colours.

import type { TokenOrigin } from '../../lib/console/frame.js'
import { originClass, originWords } from '../state/colours.js'
import type { ChoiceState, WatchedState } from '../state/page-state.js'
import { find, make, setText } from './dom.js'
import { explain, type Tooltip } from './tooltip.js'

const MAX_TOKENS = 4_000 // with colours, of a choice
const DROP = 500 // at once
const AT_END = 24 // pixels from the bottom that still count as there

export interface StreamView {
  render(watched: WatchedState | undefined): void
}

interface ChoiceView {
  readonly root: HTMLElement
  readonly older: HTMLElement
  readonly tokens: HTMLElement
  numShown: number
  numDropped: number
}

export function createStreamView(tooltip: Tooltip): StreamView {
  const root = find('stream', HTMLDivElement)
  const legend = find('origins', HTMLDivElement)
  const views = new Map<number, ChoiceView>()
  let shown: WatchedState | undefined

  explain(root, tooltip, ({ target }) => {
    if (!(target instanceof HTMLElement) || target.dataset.offset === undefined) return undefined
    const choice = shown?.choices.get(Number(target.closest<HTMLElement>('[data-choice]')?.dataset.choice))
    return choice && describeToken(choice, Number(target.dataset.offset))
  })

  const viewOf = (choice: number): ChoiceView => {
    const known = views.get(choice)
    if (known !== undefined) return known
    const block = make('div', 'choice')
    block.dataset.choice = String(choice)
    const [older, tokens] = [make('span', 'older'), make('span', 'tokens')]
    block.append(older, tokens)
    root.append(block)
    const view = { root: block, older, tokens, numShown: 0, numDropped: 0 }
    views.set(choice, view)
    return view
  }

  const clear = (): void => {
    root.replaceChildren()
    views.clear()
  }

  return {
    render: (watched) => {
      if (watched === shown) return
      const isOther = watched?.id !== shown?.id
      const isShorter = [...views].some(([choice, { numShown }]) => numShown > numTokens(watched, choice))
      shown = watched
      if (isOther || isShorter) clear()
      const isAtEnd = root.scrollHeight - root.scrollTop - root.clientHeight < AT_END
      for (const [choice, state] of watched?.choices ?? []) addTokens(viewOf(choice), state)
      if (isAtEnd || isOther) root.scrollTop = root.scrollHeight
      showLegend(legend, watched)
    },
  }
}

const numTokens = (watched: WatchedState | undefined, choice: number): number =>
  watched?.choices.get(choice)?.texts.length ?? 0

function addTokens(view: ChoiceView, { texts, origins }: ChoiceState): void {
  const news = document.createDocumentFragment()
  for (let offset = view.numShown; offset < texts.length; offset++) {
    const token = make('span', `token origin-${originClass(origins[offset] ?? '')}`, texts[offset])
    token.dataset.offset = String(offset)
    news.append(token)
  }
  view.numShown = texts.length
  view.tokens.append(news)
  while (view.numShown - view.numDropped > MAX_TOKENS) {
    const end = view.numDropped + DROP
    view.older.append(texts.slice(view.numDropped, end).join(''))
    for (let i = 0; i < DROP; i++) view.tokens.firstElementChild?.remove()
    view.numDropped = end
  }
}

function describeToken({ texts, origins, steps }: ChoiceState, offset: number): string {
  const step = steps[offset] ?? 0
  const where = `token ${offset}${step > 0 ? `, step ${step}` : ''}`
  return `${JSON.stringify(texts[offset] ?? '')}\n${originWords(origins[offset] ?? '')}\n${where}`
}

/** How many tokens came how. */
function showLegend(legend: HTMLElement, watched: WatchedState | undefined): void {
  const counts = new Map<string, number>()
  for (const { origins } of watched?.choices.values() ?? []) {
    for (const origin of origins) counts.set(originClass(origin), (counts.get(originClass(origin)) ?? 0) + 1)
  }
  const names = [...counts.keys()].sort()
  while (legend.children.length > names.length) legend.lastElementChild?.remove()
  names.forEach((name, i) => {
    const item = legend.children[i] ?? legend.appendChild(make('span'))
    const className = `origin-key origin-${name}`
    if (item.className !== className) item.className = className
    setText(item, `${LEGEND[name] ?? name} ${counts.get(name) ?? 0}`)
  })
}

const LEGEND: Readonly<Record<TokenOrigin, string>> = { unknown: 'earlier', other: 'other sources' }
