// Server-sent events: the `data` of each event, as text.
//
// Invariants
//   E1  Lines end in CR LF, LF or CR alone, and an event with its empty line, however the bytes are cut: nothing waits
//       for what may follow a CR.

import { RequestFailure } from '../errors.js'

const MAX_EVENT_CHARS = 16 * 1024 * 1024

/** Yields each event's data. Throws `bad_stream` where there is no event at all. */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let data: string[] = []
  let numChars = 0
  let isAny = false
  let stray = '' // the beginning of what came before any event
  for await (const line of readLines(body)) {
    if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''))
    else if (!isAny && stray === '' && !FIELD.test(line)) stray = line
    numChars = data.length === 0 ? 0 : numChars + line.length
    if (numChars > MAX_EVENT_CHARS) throw tooLong()
    if (line !== '' || data.length === 0) continue
    isAny = true
    yield data.join('\n')
    data = []
  }
  if (data.length > 0)
    yield data.join('\n') // some end without the empty line
  else if (!isAny && stray !== '')
    throw new RequestFailure('bad_stream', `want server-sent events, found ${excerpt(stray)}`)
}

const FIELD = /^(event|id|retry)?:/ // of an event; a colon alone begins a comment

async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  let wasReturn = false // the text ended in CR: a LF that follows belongs to it
  for await (const piece of body) {
    const decoded = decoder.decode(piece, { stream: true })
    if (decoded === '') continue
    const text = wasReturn && decoded.startsWith('\n') ? decoded.slice(1) : decoded
    wasReturn = decoded.endsWith('\r')
    const lines = `${rest}${text}`.split(/\r\n|\r|\n/)
    rest = lines.pop() ?? ''
    if (rest.length > MAX_EVENT_CHARS) throw tooLong()
    yield* lines
  }
  if (rest !== '') yield rest
}

const tooLong = (): RequestFailure =>
  new RequestFailure('bad_stream', `want an event to end within ${MAX_EVENT_CHARS} characters`)

const EXCERPT_CHARS = 80

/** The beginning of what was found, for a message. */
export function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return JSON.stringify(line.length > EXCERPT_CHARS ? `${line.slice(0, EXCERPT_CHARS)}…` : line)
}
