// The console page: one feed, one state, one drawing per frame of the screen. A hidden tab draws nothing; its state goes on.

import { openFeed } from './feed.js'
import { applyFrame, EMPTY_PAGE, requestToShow } from './state/page-state.js'
import { createCharts } from './view/charts.js'
import { find } from './view/dom.js'
import { createHeader } from './view/header.js'
import { createHeatMap } from './view/heat-map.js'
import { createKeyDialog } from './view/key-dialog.js'
import { createRequestsView } from './view/requests.js'
import { createStreamView } from './view/stream.js'
import { createTheme } from './view/theme.js'
import { createTooltip } from './view/tooltip.js'
import { createTopologyView } from './view/topology.js'
import { createTreeView } from './view/tree.js'
import { createWaterfall } from './view/waterfall.js'

const FOLLOW_EVERY_MS = 3_000 // without a choice: no faster from one request to the next

let state = EMPTY_PAGE
let chosen: string | undefined
let shown: string | undefined
let turnedMs = -Infinity
let isAsked = false // for a drawing

const theme = createTheme()
const tooltip = createTooltip()
const header = createHeader()
const topology = createTopologyView(tooltip)
const heatMap = createHeatMap(theme, tooltip)
const stream = createStreamView(tooltip)
const tree = createTreeView(tooltip)
const waterfall = createWaterfall(tooltip)
const charts = createCharts(theme)
const follow = find('follow', HTMLButtonElement)

const draw = (): void => {
  isAsked = false
  header.render(state)
  topology.render(state)
  heatMap.render(state)
  requests.render(state, shown)
  const watched = state.watched?.id === shown ? state.watched : undefined
  stream.render(watched)
  tree.render(watched)
  waterfall.render(state)
  charts.render(state)
  find('chosen-id', HTMLSpanElement).textContent = shown ?? ''
  follow.setAttribute('aria-pressed', String(chosen === undefined))
}

const askToDraw = (): void => {
  if (isAsked) return
  isAsked = true
  requestAnimationFrame(draw)
}

/** Turns to the request that is to be shown now. */
const turn = (): void => {
  const next = requestToShow(state.rows, { chosen, shown })
  const nowMs = performance.now()
  if (next === shown || (chosen === undefined && nowMs - turnedMs < FOLLOW_EVERY_MS)) return
  turnedMs = nowMs
  shown = next
  feed.watch(shown)
}

const requests = createRequestsView((id) => {
  chosen = id
  turn()
  askToDraw()
})

follow.addEventListener('click', () => {
  chosen = undefined
  turn()
  askToDraw()
})

const keyDialog = createKeyDialog((key) => {
  state = EMPTY_PAGE // what another key may see
  chosen = shown = undefined
  feed.watch(undefined)
  feed.setKey(key)
})

const feed = openFeed({
  address: new URL('console/feed', document.baseURI),
  key: keyDialog.stored,
  onFrame: (frame) => {
    state = applyFrame(state, frame)
    turn()
    askToDraw()
  },
  onStatus: (status) => {
    header.status(status)
    if (status.kind === 'key') keyDialog.ask()
    if (status.kind === 'live') keyDialog.close()
  },
})

theme.onChange(askToDraw)
addEventListener('resize', askToDraw)
