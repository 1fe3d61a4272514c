// Cuts text that arrives in pieces into items. Which way is seen from how the text begins: an array, a document over
// several lines, or lines.
//
// Invariants
//   S1  No item is lost: what is no value is an item too, for its reader to refuse.

import type { Item } from './format.js'

export interface Splitter {
  push(text: string): Item[]
  end(): Item[]
}

export class ItemTooLong extends Error {
  readonly line: number

  constructor(line: number) {
    super(`the item of line ${line} is too long`)
    this.line = line
  }
}

const ENOUGH_CHARS = 1 << 16 // of a first line: then it is one

/** The splitter for a text that begins so; undefined until its first line has been seen. */
export function chooseSplitter(beginning: string, isWhole: boolean, maxChars: number): Splitter | undefined {
  const start = beginning.trimStart()
  if (start.startsWith('[')) return valueSplitter(1, maxChars)
  const lineEnd = start.indexOf('\n')
  if (lineEnd === -1 && !isWhole && start.length < ENOUGH_CHARS) return undefined
  const first = (lineEnd === -1 ? start : start.slice(0, lineEnd)).trimEnd()
  const isDocument = first.startsWith('{') && /[{[,:]$/.test(first)
  return isDocument ? valueSplitter(0, maxChars) : lineSplitter(maxChars)
}

function lineSplitter(maxChars: number): Splitter {
  let line = 1
  let rest = ''
  const item = (text: string, isTorn: boolean): Item[] => {
    if (text.length > maxChars) throw new ItemTooLong(line)
    return text.trim() === '' ? [] : [{ line, text: text.endsWith('\r') ? text.slice(0, -1) : text, isTorn }]
  }
  return {
    push: (text) => {
      const items: Item[] = []
      let start = 0
      for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
        items.push(...item(start === 0 ? rest + text.slice(0, end) : text.slice(start, end), false))
        if (start === 0) rest = ''
        start = end + 1
        line++
      }
      rest += text.slice(start)
      if (rest.length > maxChars) throw new ItemTooLong(line)
      return items
    },
    end: () => item(rest, true),
  }
}

const NO_VALUE = /[\s,]/

/** JSON values at a depth: 0 is the text's own, 1 the elements of its array. */
function valueSplitter(base: 0 | 1, maxChars: number): Splitter {
  let line = 1
  let depth = 0
  let isString = false
  let isEscaped = false
  let isClosed = base === 0
  let pieces = '' // of the item under way
  let begun: { readonly line: number; readonly isNested: boolean } | undefined

  /** Follows one character; true where it ends the item, as its last character or as the one after a bare word. */
  const follow = (char: string): boolean => {
    if (isString) {
      if (isEscaped) isEscaped = false
      else if (char === '\\') isEscaped = true
      else if (char === '"') isString = false
    } else if (char === '"') isString = true
    else if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    return depth === base && !isString && begun?.isNested === true
  }

  const push = (text: string): Item[] => {
    const items: Item[] = []
    let start = 0
    const finish = (end: number): void => {
      if (begun !== undefined) items.push({ line: begun.line, text: pieces + text.slice(start, end), isTorn: false })
      begun = undefined
      pieces = ''
    }
    for (let i = 0; i < text.length; i++) {
      const char = text.charAt(i)
      if (begun === undefined) {
        if (base === 1 && depth === 0 && char === '[') depth = 1
        else if (base === 1 && depth === 1 && char === ']') {
          depth = 0
          isClosed = true
        } else if (!NO_VALUE.test(char)) {
          begun = { line, isNested: char === '{' || char === '[' }
          start = i
          follow(char)
        }
      } else if (!begun.isNested && !isString && (NO_VALUE.test(char) || char === ']')) {
        finish(i)
        i-- // looked at again, outside the item
        continue
      } else if (follow(char)) finish(i + 1)
      if (char === '\n') line++
    }
    if (begun !== undefined) pieces += text.slice(start)
    if (pieces.length > maxChars) throw new ItemTooLong(begun?.line ?? line)
    return items
  }

  const end = (): Item[] => {
    if (begun !== undefined) return [{ line: begun.line, text: pieces, isTorn: true }]
    return isClosed ? [] : [{ line, text: 'the end of the file inside its array', isTorn: true }]
  }
  return { push, end }
}
