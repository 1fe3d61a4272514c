// Reads a JSON body within its bound. What is wrong with it is said once, also while the client still sends.

import type { IncomingMessage } from 'node:http'
import { ClusterError } from '../../../lib/errors.js'

const MAX_DEPTH = 64

/** The parsed body. Throws `invalid_argument` for one that is too large (413), too deep, not UTF-8 or not JSON. */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const bytes = await readBytes(request, maxBytes)
  checkDepth(bytes)
  try {
    return parseExact(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const what = error instanceof SyntaxError ? `not JSON: ${withoutContent(error.message)}` : 'not UTF-8'
    throw new ClusterError('invalid_argument', `request body: ${what}`, { cause: error })
  }
}

/**
 * Seeds have 64 bits and JSON's numbers 53: one that would lose digits is read as text. `"seed":` stands for a field
 * wherever it is found, as a quote inside of a string has a backslash before it.
 */
function parseExact(text: string): unknown {
  const parsed: unknown = JSON.parse(text)
  const seed = typeof parsed === 'object' && parsed !== null && 'seed' in parsed ? parsed.seed : undefined
  if (typeof seed !== 'number' || Number.isSafeInteger(seed)) return parsed
  return JSON.parse(text.replace(/("seed"\s*:\s*)(\d{16,20})(?=\s*[,}])/g, '$1"$2"'))
}

/** Node quotes what it could not read: that is the client's text, which belongs in no message. */
const withoutContent = (message: string): string => message.replace(/, (\.\.\.)?"[^]*$/, '')

/** Levels are counted before anything is built: a body of brackets alone would keep the parser busy for seconds. */
function checkDepth(bytes: Uint8Array): void {
  let depth = 0
  let isText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (isText) {
      if (byte === 0x5c)
        i += 1 // a backslash and what it stands before
      else if (byte === 0x22) isText = false
    } else if (byte === 0x22) isText = true
    else if (byte === 0x5b || byte === 0x7b) depth += 1
    else if (byte === 0x5d || byte === 0x7d) depth -= 1
    if (depth > MAX_DEPTH)
      throw new ClusterError('invalid_argument', `request body: want at most ${MAX_DEPTH} levels of lists and objects`)
  }
}

const tooLarge = (maxBytes: number, size: number): ClusterError =>
  new ClusterError('invalid_argument', `request body: want at most ${maxBytes} bytes, got ${size} or more`, {
    details: { httpStatus: '413' },
  })

function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > maxBytes) return Promise.reject(tooLarge(maxBytes, declared))
  // Listeners rather than iteration: leaving an iteration destroys the socket, and the answer with it.
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let size = 0
    request.on('data', (part: Buffer) => {
      size += part.length
      if (size <= maxBytes) parts.push(part)
      else {
        request.removeAllListeners('data').resume() // to the end, unkept: the client reads its answer after that
        reject(tooLarge(maxBytes, size))
      }
    })
    request.once('end', () => resolve(Buffer.concat(parts)))
    const gone = (cause?: Error): void =>
      reject(new ClusterError('cancelled', 'the client left before its body was whole', { cause }))
    request.once('error', gone)
    request.once('close', () => gone())
  })
}
