// The requests of one caller as rows of a list: those that run first, then what ended lately, both bounded.

import type { RequestChanges, RequestPhase, RequestRow } from '../../../lib/console/frame.js'
import type { GenerateEvent } from '../engine.js'
import type { RequestRecord } from '../requests.js'
import type { Sequence } from '../sequence.js'

const MAX_OPEN = 128
const MAX_ENDED = 48
const TAIL_CHARACTERS = 96
const TAIL_EVENTS = 200 // looked at for them: tokens may be without text

export interface RowContext {
  readonly nowMs: () => number // Unix
  /** How long a sequence's first token took, where it was seen. */
  readonly ttftMs: (sequence: Sequence) => number | undefined
}

export interface RequestRows {
  readonly rows: readonly RequestRow[]
  readonly hidden: number
  readonly others: RequestChanges['others']
}

/** `records` from the oldest to the newest. */
export function requestRows(records: Iterable<RequestRecord>, tenant: string, context: RowContext): RequestRows {
  const open: RequestRecord[] = []
  const ended: RequestRecord[] = []
  const others = { running: 0, ended: 0 }
  for (const record of records) {
    const isOver = record.log.isClosed
    if (record.tenant !== tenant) others[isOver ? 'ended' : 'running'] += 1
    else if (isOver) ended.push(record)
    else open.push(record)
  }
  const shown = [...ended.slice(-MAX_ENDED), ...open.slice(-MAX_OPEN)]
  return {
    rows: shown.map((record) => describe(record, context)),
    hidden: open.length + ended.length - shown.length,
    others,
  }
}

/** What is new against the rows that a reader has; `known` is brought up to date. */
export function changesOf({ rows, hidden, others }: RequestRows, known: Map<string, string>): RequestChanges {
  const present = new Set(rows.map(({ id }) => id))
  const gone = [...known.keys()].filter((id) => !present.has(id))
  for (const id of gone) known.delete(id)
  const changed = rows.filter((row) => {
    const text = JSON.stringify(row)
    if (known.get(row.id) === text) return false
    known.set(row.id, text)
    return true
  })
  return { rows: changed, gone, hidden, others }
}

function describe(record: RequestRecord, { nowMs, ttftMs }: RowContext): RequestRow {
  const { log, sequences } = record
  const [first] = sequences
  const [accepted] = log.events // the first event
  const ends = log.isClosed ? log.events.filter((event) => event.kind === 'finished') : [] // few events by then
  const outputTokens = log.held.reduce((sum, count) => sum + (count ?? 0), 0)
  const startedMs = accepted?.kind === 'accepted' ? accepted.createdUnixMs : nowMs()
  const promptTokens = accepted?.kind === 'accepted' ? accepted.promptTokens : 0
  return {
    id: record.id,
    phase: phaseOf(record, outputTokens),
    priority: first?.priority ?? 'normal',
    choices: record.numChoices,
    startedMs,
    promptTokens,
    prefilled: outputTokens > 0 ? promptTokens : Math.min(promptTokens, first?.base ?? 0),
    outputTokens,
    ttftMs: (first && ttftMs(first)) ?? ends[0]?.stats.ttftMs ?? null,
    tokensPerSecond: log.isClosed
      ? ends.reduce((sum, { stats }) => sum + stats.tokensPerSecond, 0)
      : (outputTokens * 1_000) / Math.max(1, nowMs() - startedMs),
    tail: tailOf(log.events),
  }
}

function phaseOf({ outcome, runsAt, log, sequences }: RequestRecord, outputTokens: number): RequestPhase {
  if (outcome !== 'running') return outcome
  if (runsAt !== undefined) return 'elsewhere'
  if (log.isPaused) return 'paused'
  if (outputTokens > 0) return 'decode'
  return sequences.some(({ epoch }) => epoch > 0) ? 'prefill' : 'waiting'
}

/** The end of the first choice's text. */
function tailOf(events: readonly GenerateEvent[]): string {
  let tail = ''
  for (const event of events.slice(-TAIL_EVENTS).reverse()) {
    if (tail.length >= TAIL_CHARACTERS) break
    if (event.kind === 'chunk' && event.choice === 0) tail = event.text + tail
  }
  return tail
    .slice(-TAIL_CHARACTERS)
    .replace(/^[\udc00-\udfff]/, '')
    .replace(/\s+/g, ' ') // no half character
}
