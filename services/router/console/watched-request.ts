// The request that one console looks at: its tokens beyond those the console has, how they came, and its newest trees.

import type { ConsoleTree, WatchedRequest } from '../../../lib/console/frame.js'
import type { GenerateEvent } from '../engine.js'
import type { RequestRecord } from '../requests.js'
import type { Sequence } from '../sequence.js'
import type { KeptTree, TokenOrigins } from './token-origins.js'

const MAX_TOKENS = 1_024 // of a choice in one frame; the rest goes with the next ones
const MAX_CHOICES = 8
const MAX_TREES = 8 // of a sequence in one frame; older ones are passed over

export interface WatchedOptions {
  readonly id: string
  readonly find: () => RequestRecord | undefined
  readonly originsOf: (sequence: Sequence) => TokenOrigins | undefined
  readonly tokenText: (token: number) => string
}

export interface Watched {
  /** Its sequences that run here: whose trees are wanted. */
  readonly sequences: readonly Sequence[]
  next(): WatchedRequest
}

export function createWatched({ id, find, originsOf, tokenText }: WatchedOptions): Watched {
  let record: RequestRecord | undefined
  let cursors: Cursor[] = [] // of each choice
  let toldTrees = new WeakMap<Sequence, number>()

  /** A choice's next tokens. */
  const tokensOf = ({ log, sequences }: RequestRecord, choice: number): WatchedRequest['choices'][number] => {
    const cursor = (cursors[choice] ??= { events: [], numRead: 0, offset: 0 })
    const { offset } = cursor
    const texts = nextTexts(log.events, choice, cursor)
    const known = origins(sequences[choice])
    return {
      choice,
      offset,
      texts,
      origins: texts.map((_, i) => known?.origin(offset + i) ?? ''),
      steps: texts.map((_, i) => known?.step(offset + i) ?? 0),
    }
  }

  const origins = (sequence: Sequence | undefined): TokenOrigins | undefined => sequence && originsOf(sequence)

  const treesOf = (sequence: Sequence): ConsoleTree[] => {
    const have = toldTrees.get(sequence) ?? 0
    const news = (originsOf(sequence)?.trees ?? []).filter(({ serial }) => serial > have).slice(-MAX_TREES)
    toldTrees.set(sequence, news.at(-1)?.serial ?? have)
    return news.map((tree) => withTexts(tree, tokenText))
  }

  return {
    get sequences() {
      return record?.sequences ?? []
    },
    next: () => {
      const found = find()
      const isFresh = found !== record || cursors.length === 0
      if (found !== record) {
        record = found
        cursors = []
        toldTrees = new WeakMap()
      }
      if (record === undefined) return { id, isKnown: false, isFresh, choices: [], trees: [] }
      const shown = record
      const numChoices = Math.min(MAX_CHOICES, shown.numChoices)
      return {
        id,
        isKnown: true,
        isFresh,
        choices: Array.from({ length: numChoices }, (_, choice) => tokensOf(shown, choice)).filter(
          ({ texts }) => texts.length > 0,
        ),
        trees: shown.sequences.slice(0, MAX_CHOICES).flatMap(treesOf),
      }
    },
  }
}

/** How far a choice has been told. */
interface Cursor {
  events: readonly GenerateEvent[] // of a log, which puts others in their place when it ends
  numRead: number // of these
  offset: number // tokens
}

/** The texts that a choice's next tokens complete; moves the cursor behind them. */
function nextTexts(events: readonly GenerateEvent[], choice: number, cursor: Cursor): string[] {
  if (cursor.events !== events) {
    cursor.events = events
    cursor.numRead = 0
  }
  const texts: string[] = []
  for (; cursor.numRead < events.length; cursor.numRead++) {
    const event = events[cursor.numRead]
    if (event?.kind !== 'chunk' || event.choice !== choice) continue
    const from = Math.max(0, cursor.offset - event.offset)
    const ends = event.textEnds.slice(from, from + MAX_TOKENS - texts.length)
    for (const [i, end] of ends.entries()) texts.push(event.text.slice(event.textEnds[from + i - 1] ?? 0, end))
    cursor.offset += ends.length
    if (from + ends.length < event.textEnds.length) break // the rest goes with the next frame
  }
  return texts
}

function withTexts({ serial: _, nodes, bonus, ...rest }: KeptTree, tokenText: (token: number) => string): ConsoleTree {
  return {
    ...rest,
    bonus: bonus === undefined ? '' : tokenText(bonus),
    nodes: nodes.map(({ token, parent, value, sources }) => ({ text: tokenText(token), parent, value, sources })),
  }
}
