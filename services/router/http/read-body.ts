// Reads a JSON body within its bound. What is wrong with it is said once, also while the client still sends.

import type { IncomingMessage } from 'node:http'
import { ClusterError } from '../../../lib/errors.js'

/** The parsed body. Throws `invalid_argument` for one that is too large (413), not UTF-8 or not JSON. */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const bytes = await readBytes(request, maxBytes)
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return parsed
  } catch (error) {
    const what = error instanceof SyntaxError ? `not JSON: ${error.message}` : 'not UTF-8'
    throw new ClusterError('invalid_argument', `request body: ${what}`, { cause: error })
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
