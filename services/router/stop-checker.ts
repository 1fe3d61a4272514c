// Finds stop strings in text that arrives in pieces, and holds back what could become one.
//
// Invariants
//   S1  The result depends on the text alone, not on how it was cut into pieces.
//   S2  The stop that is completed first ends the text; of two completed by the same character, the longer one.
//   S3  Text is held back only while it is the beginning of a stop string. Work per character is bounded (the
//       automaton of Knuth, Morris and Pratt, one per stop string).

import { ClusterError } from '../../lib/errors.js'

export interface StopResult {
  readonly text: string // may be emitted now
  readonly stop: string | undefined // the stop string that ended the text; what came after it is dropped
}

export interface StopChecker {
  /** Takes the next piece of text. After a stop was found nothing more comes out. */
  push(delta: string): StopResult
  /** The text has ended: releases what was held back. */
  flush(): string
}

interface Matcher {
  readonly stop: string
  readonly fallbacks: Int32Array // [stop.length]: after i + 1 matched units, the next shorter match
  matched: number // units at the end of the text that begin the stop string
}

/** A checker for one choice. `includeStop` keeps the stop string at the end of the text. */
export function createStopChecker(stops: readonly string[], includeStop: boolean): StopChecker {
  if (stops.includes(''))
    throw new ClusterError('invalid_argument', 'stop string: want at least one character, got none')
  const matchers = stops.map((stop): Matcher => ({ stop, fallbacks: fallbacksOf(stop), matched: 0 }))
  let held = ''
  let isOver = false

  const end = (text: string, { stop }: Matcher): StopResult => {
    isOver = true
    held = ''
    return { text: includeStop ? text : text.slice(0, text.length - stop.length), stop }
  }
  return {
    push: (delta) => {
      if (isOver || matchers.length === 0) return { text: isOver ? '' : delta, stop: undefined }
      const numHeld = held.length
      const text = held + delta
      for (let i = numHeld; i < text.length; i++) {
        const found = step(matchers, text.charCodeAt(i))
        if (found !== undefined) return end(text.slice(0, i + 1), found)
      }
      const longest = matchers.reduce((most, { matched }) => Math.max(most, matched), 0)
      held = text.slice(text.length - longest)
      return { text: text.slice(0, text.length - longest), stop: undefined }
    },
    flush: () => {
      const text = held
      held = ''
      isOver = true
      return text
    },
  }
}

/** Moves every matcher on by one UTF-16 unit; returns the longest stop that it completes. */
function step(matchers: readonly Matcher[], unit: number): Matcher | undefined {
  let found: Matcher | undefined
  for (const matcher of matchers) {
    matcher.matched = nextMatch(matcher, matcher.matched, unit)
    const { stop, matched } = matcher
    if (matched === stop.length && stop.length > (found?.stop.length ?? 0)) found = matcher
  }
  return found
}

function nextMatch({ stop, fallbacks }: Pick<Matcher, 'stop' | 'fallbacks'>, matched: number, unit: number): number {
  let length = matched
  while (length > 0 && stop.charCodeAt(length) !== unit) length = fallbacks[length - 1]!
  return stop.charCodeAt(length) === unit ? length + 1 : 0
}

function fallbacksOf(stop: string): Int32Array {
  const fallbacks = new Int32Array(stop.length)
  for (let i = 1; i < stop.length; i++) {
    fallbacks[i] = nextMatch({ stop, fallbacks }, fallbacks[i - 1]!, stop.charCodeAt(i))
  }
  return fallbacks
}
