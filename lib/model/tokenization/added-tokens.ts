// Finds the added tokens of a tokenizer in text: the longest at the leftmost place, first those that are looked for in
// the text as it came, then, in what is left, those that are looked for after normalising.

import type { AddedToken } from './published.js'
import type { Normalise } from './normalise.js'

/** A part of the text: an added token's id, or normalised text that has none. */
export type Section = { readonly id: number } | { readonly text: string }

export interface AddedTokens {
  /** `parseSpecial`: texts of special tokens are those tokens; otherwise they are text. */
  split(text: string, parseSpecial: boolean): Iterable<Section>
}

/** Tokens by their characters, one UTF-16 unit per step. */
interface Node {
  readonly next: Map<number, Node>
  token: AddedToken | undefined
}

interface Trie {
  readonly root: Node
  readonly begins: Uint8Array // per UTF-16 unit, whether a token begins with it: most units of a text are none
}

const isNormalised = ({ normalized, special }: AddedToken): boolean => normalized ?? !special

/** The text that the token is found by, and that it becomes. */
export const textOfAdded = (token: AddedToken, normalise: Normalise): string =>
  isNormalised(token) ? normalise(token.content) : token.content

export function addedTokens(tokens: readonly AddedToken[], normalise: Normalise): AddedTokens {
  const trie = (some: readonly AddedToken[]): Trie =>
    trieOf(some.map((token) => [textOfAdded(token, normalise), token]))
  const asItCame = trie(tokens.filter((token) => !isNormalised(token)))
  const normalised = trie(tokens.filter(isNormalised))
  return {
    *split(text, parseSpecial) {
      for (const section of find(asItCame, text, parseSpecial)) {
        if ('id' in section) yield section
        else yield* find(normalised, normalise(section.text), parseSpecial)
      }
    },
  }
}

function trieOf(entries: readonly (readonly [string, AddedToken])[]): Trie {
  const root: Node = { next: new Map(), token: undefined }
  const begins = new Uint8Array(2 ** 16)
  for (const [text, token] of entries) {
    if (text === '') continue
    begins[text.charCodeAt(0)] = 1
    let node = root
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      const known = node.next.get(unit) ?? { next: new Map(), token: undefined }
      node.next.set(unit, known)
      node = known
    }
    node.token ??= token
  }
  return { root, begins }
}

function* find({ root, begins }: Trie, text: string, parseSpecial: boolean): Generator<Section> {
  let end = 0 // of the last section
  for (let at = 0; at < text.length;) {
    const found = begins[text.charCodeAt(at)] === 1 ? longestAt(root, text, at) : undefined
    if (found === undefined) {
      at += 1
      continue
    }
    const { token, stop } = found
    const isText = (token.special && !parseSpecial) || (token.single_word && !isWordAlone(text, at, stop))
    if (!isText) {
      const start = token.lstrip ? Math.max(end, skipSpacesBack(text, at)) : at
      if (start > end) yield { text: text.slice(end, start) }
      yield { id: token.id }
      end = token.rstrip ? skipSpaces(text, stop) : stop
    }
    at = Math.max(stop, end)
  }
  if (end < text.length) yield { text: text.slice(end) }
}

function longestAt(root: Node, text: string, at: number): { token: AddedToken; stop: number } | undefined {
  let found: { token: AddedToken; stop: number } | undefined
  let node: Node | undefined = root
  for (let i = at; i < text.length; i++) {
    node = node.next.get(text.charCodeAt(i))
    if (node === undefined) return found
    if (node.token !== undefined) found = { token: node.token, stop: i + 1 }
  }
  return found
}

const WORD_END = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u
const WORD_START = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u
const isWordAlone = (text: string, start: number, stop: number): boolean =>
  !WORD_END.test(text.slice(Math.max(0, start - 2), start)) && !WORD_START.test(text.slice(stop, stop + 2))

const isSpace = (text: string, at: number): boolean => /\p{White_Space}/u.test(text[at] ?? '')

function skipSpacesBack(text: string, from: number): number {
  let at = from
  while (at > 0 && isSpace(text, at - 1)) at--
  return at
}

function skipSpaces(text: string, from: number): number {
  let at = from
  while (at < text.length && isSpace(text, at)) at++
  return at
}
