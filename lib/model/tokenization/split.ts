// How a tokenizer cuts normalised text into the pieces that its model sees one by one, as they are asked for.

import { byteLevelText } from '../byte-level.js'
import { expressionOf } from './patterns.js'
import type { Behaviour, PreTokenizer } from './published.js'

/** `isFirst`: the text stands at the very beginning of what was given. */
export type Split = (text: string, isFirst: boolean) => Iterable<string>

export function splitterOf(steps: readonly PreTokenizer[]): Split {
  const functions = steps.map(stepOf)
  return (text, isFirst) =>
    functions.reduce<Iterable<string>>((pieces, apply) => eachThrough(apply, pieces, isFirst), [text])
}

function* eachThrough(apply: Split, pieces: Iterable<string>, isFirst: boolean): Generator<string> {
  let isBeginning = isFirst
  for (const piece of pieces) {
    yield* apply(piece, isBeginning)
    isBeginning = false
  }
}

function stepOf(step: PreTokenizer): Split {
  switch (step.type) {
    case 'Split':
      return cutter(expressionOf(step.pattern), step.behavior, step.invert)
    case 'ByteLevel':
      return byteLevel(step.add_prefix_space, step.use_regex)
    case 'Metaspace':
      return metaspace(step)
    case 'Digits':
      return cutter(/\p{N}/gu, step.individual_digits ? 'Isolated' : 'Contiguous')
    case 'Punctuation':
      return cutter(/[\p{P}!-/:-@[-`{-~]/gu, step.behavior)
    case 'Whitespace':
      return cutter(
        /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu,
        'Removed',
        true,
      )
    case 'WhitespaceSplit':
      return cutter(/\p{White_Space}/gu, 'Removed')
  }
}

interface Cut {
  readonly text: string
  readonly isMatch: boolean
}

/** Matches of the expression and what is between them; with `invert` they change places. Empty cuts are dropped. */
function cutter(expression: RegExp, behaviour: Behaviour, invert = false): Split {
  function* cuts(text: string): Generator<Cut> {
    let end = 0
    for (const { 0: match, index } of text.matchAll(expression)) {
      if (index > end) yield { text: text.slice(end, index), isMatch: invert }
      if (match !== '') yield { text: match, isMatch: !invert }
      end = index + match.length
    }
    if (end < text.length) yield { text: text.slice(end), isMatch: invert }
  }
  return (text) => join(cuts(text), behaviour)
}

function* join(cuts: Iterable<Cut>, behaviour: Behaviour): Generator<string> {
  let piece = ''
  let before: Cut | undefined
  for (const cut of cuts) {
    if (behaviour === 'Removed' && cut.isMatch) continue
    if (before !== undefined && !isJoined(before, cut, behaviour)) {
      yield piece
      piece = ''
    }
    piece += cut.text
    before = cut
  }
  if (before !== undefined) yield piece
}

function isJoined(before: Cut, cut: Cut, behaviour: Behaviour): boolean {
  if (behaviour === 'Isolated' || behaviour === 'Removed') return false
  if (behaviour === 'Contiguous') return before.isMatch === cut.isMatch
  return behaviour === 'MergedWithPrevious' ? cut.isMatch && !before.isMatch : before.isMatch && !cut.isMatch
}

const WORDS_OF_GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

function byteLevel(addsSpace: boolean, usesRegex: boolean): Split {
  const words = cutter(WORDS_OF_GPT2, 'Isolated')
  return function* (text, isFirst) {
    const spaced = addsSpace && !text.startsWith(' ') ? ` ${text}` : text
    for (const word of usesRegex ? words(spaced, isFirst) : [spaced]) yield byteLevelText(word)
  }
}

function metaspace(step: Extract<PreTokenizer, { type: 'Metaspace' }>): Split {
  const scheme = step.prepend_scheme ?? (step.add_prefix_space === false ? 'never' : 'always')
  const words = cutter(expressionOf({ text: step.replacement, regex: undefined }), 'MergedWithNext')
  return (text, isFirst) => {
    const replaced = text.replaceAll(' ', step.replacement)
    const prepends = (scheme === 'always' || (scheme === 'first' && isFirst)) && !replaced.startsWith(step.replacement)
    const marked = prepends ? step.replacement + replaced : replaced
    return step.split ? words(marked, isFirst) : [marked]
  }
}
