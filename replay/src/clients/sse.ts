// Server-sent events: the `data` of each event, as text.

import { RequestFailure } from '../errors.js'

const MAX_EVENT_CHARS = 16 * 1024 * 1024

/** Yields each event's data; an event may come in any number of pieces. Throws `bad_stream` where there is none at all. */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let buffered = ''
  let numEvents = 0
  for await (const piece of body) {
    buffered += decoder.decode(piece, { stream: true })
    const events = buffered.split(/\r?\n\r?\n/)
    buffered = events.pop() ?? ''
    if (buffered.length > MAX_EVENT_CHARS)
      throw new RequestFailure('bad_stream', `want an event to end within ${MAX_EVENT_CHARS} characters`)
    for (const event of events) {
      const data = dataOf(event)
      if (data === undefined) continue
      numEvents += 1
      yield data
    }
  }
  const last = dataOf(buffered) // some end without the empty line
  if (last !== undefined) yield last
  else if (numEvents === 0 && buffered.trim() !== '')
    throw new RequestFailure('bad_stream', `want server-sent events, found ${excerpt(buffered)}`)
}

function dataOf(event: string): string | undefined {
  const data = event
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).replace(/^ /, ''))
  return data.length > 0 ? data.join('\n') : undefined
}

const EXCERPT_CHARS = 80

/** The beginning of what was found, for a message. */
export function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return JSON.stringify(line.length > EXCERPT_CHARS ? `${line.slice(0, EXCERPT_CHARS)}…` : line)
}
