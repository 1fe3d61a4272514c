// Fields of a row, checked where they enter: a wrong one is a `BadItem` that says what was wanted and what was found.

import { BadItem, type Item, type Sample } from './format.js'

export const MAX_TOKENS = 10_000_000 // of a prompt or an answer: more is a mistake in the file
const SHOWN_CHARS = 60

export type Row = Readonly<Record<string, unknown>>

export const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A value as an error shows it. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text
}

const wrong = (name: string, wanted: string, found: unknown): BadItem =>
  new BadItem(`${name}: want ${wanted}, found ${shown(found)}`)

/** Hash ids go up to 2^64 - 1; as numbers they would lose digits, so they are read as text with this mark. */
export const INTEGER_MARK = 'uint64:'

const HASH_LISTS = /"(hash_ids|input_sequence_hashes)"\s*:\s*\[([^\][]*)\]/g
const BIG = /(?<![\w".-])\d{16,}(?![\w".])/g

/** An item as a JSON object. */
export function parseRow({ text }: Item): Row {
  const value = parseJson(text)
  if (!isRow(value)) throw new BadItem(`want a JSON object, found ${shown(value)}`)
  return value
}

export function parseJson(text: string): unknown {
  const exact = text.replace(
    HASH_LISTS,
    (_, name: string, list: string) => `"${name}":[${list.replace(BIG, `"${INTEGER_MARK}$&"`)}]`,
  )
  try {
    return JSON.parse(exact)
  } catch {
    throw new BadItem(`want JSON, found ${shown(text.trim())}`)
  }
}

/** A time or a span of time: finite and not negative. */
export function time(row: Row, name: string): number {
  const value = row[name]
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw wrong(name, 'a time of 0 or more', value)
  return value
}

export const optionalTime = (row: Row, name: string): number | undefined =>
  absent(row, name) ? undefined : time(row, name)

/** A number of tokens. */
export function count(row: Row, name: string): number {
  return checkCount(name, row[name])
}

export function checkCount(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
    throw wrong(name, 'a whole number of tokens', value)
  if (value > MAX_TOKENS) throw wrong(name, `at most ${MAX_TOKENS} tokens`, value)
  return value
}

export const optionalCount = (row: Row, name: string): number | undefined =>
  absent(row, name) ? undefined : count(row, name)

export function text(row: Row, name: string): string {
  const value = row[name]
  if (typeof value !== 'string') throw wrong(name, 'a text', value)
  return value
}

export const optionalText = (row: Row, name: string): string | undefined =>
  absent(row, name) ? undefined : text(row, name)

/** An id, which some tools write as a number. */
export function optionalId(row: Row, name: string): string | undefined {
  const value = row[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string' && typeof value !== 'number') throw wrong(name, 'an id', value)
  return String(value)
}

export function object(row: Row, name: string): Row {
  const value = row[name]
  if (!isRow(value)) throw wrong(name, 'an object', value)
  return value
}

export function list(row: Row, name: string): readonly unknown[] {
  const value = row[name]
  if (!Array.isArray(value)) throw wrong(name, 'a list', value)
  return value
}

export interface ChatMessage {
  readonly role: string
  readonly content: string
}

/** OpenAI's messages: of content parts the texts are kept. */
export function messages(row: Row, name: string): readonly ChatMessage[] {
  return list(row, name).map((message, i) => {
    const where = `${name}[${i}]`
    if (!isRow(message) || typeof message.role !== 'string') throw wrong(where, 'a message with a role', message)
    return { role: message.role, content: contentText(message.content ?? message.parts ?? '', `${where}.content`) }
  })
}

/** A text, or a list of parts of which the texts are kept. */
export function contentText(value: unknown, name: string): string {
  if (typeof value === 'string') return value
  if (!Array.isArray(value)) throw wrong(name, 'a text or a list of parts', value)
  return value.map((part: unknown) => (isRow(part) ? partText(part) : '')).join('')
}

const partText = (part: Row): string => {
  const value = part.text ?? part.content
  return typeof value === 'string' ? value : ''
}

const absent = (row: Row, name: string): boolean => row[name] === undefined || row[name] === null

/** The first JSON object of a sample that holds all these fields, or the reason why there is none. */
export function rowWith(sample: Sample, names: readonly string[]): Row | string {
  const rows = sample.values.filter(isRow)
  if (rows.length === 0) return 'its lines are no JSON objects'
  const found = rows.find((row) => names.every((name) => name in row))
  if (found !== undefined) return found
  const missing = names.filter((name) => rows.every((row) => !(name in row)))
  return `no line has ${missing.length > 0 ? missing.join(', ') : `${names.join(', ')} together`}`
}
