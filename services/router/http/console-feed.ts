// The console's live feed: a JSON line per frame, a few times a second. A reader that is slow gets fewer frames, each
// composed when there is room for it; one that reads nothing at all is let go.

import { ClusterError } from '../../../lib/errors.js'
import type { ConsoleView, Viewer } from '../console/console.js'
import type { Exchange } from './exchange.js'

const FRAME_EVERY_MS = 250
const STUCK_MS = 30_000 // without room for a frame

/** `GET /console/feed?console=NAME[&watch=REQUEST]`. */
export function answerConsoleFeed({ engine, request, response, signal, tenant, url }: Exchange): Promise<void> {
  const view = engine.openConsole(viewerOf(url, tenant))
  response.writeHead(200, {
    'content-type': 'application/x-ndjson; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  })
  if (request.method === 'HEAD') {
    view.close()
    response.end()
    return Promise.resolve()
  }
  return sendFrames(view, { response, signal }).finally(() => view.close())
}

/** Until the reader leaves, is stuck, or the view is closed. */
function sendFrames(view: ConsoleView, { response, signal }: Pick<Exchange, 'response' | 'signal'>): Promise<void> {
  return new Promise((resolve, reject) => {
    let roomMs = performance.now() // when there was room last
    const stop = (): void => {
      clearInterval(timer)
      signal.removeEventListener('abort', end)
    }
    const end = (): void => {
      stop()
      if (!response.destroyed) response.end()
      resolve()
    }
    const send = (): void => {
      const nowMs = performance.now()
      if (nowMs - roomMs > STUCK_MS) {
        response.destroy() // its end would wait for what is not read
        end()
        return
      }
      if (signal.aborted || view.isClosed) {
        end()
        return
      }
      if (response.writableNeedDrain) return
      roomMs = nowMs
      response.write(`${JSON.stringify(view.next())}\n`)
    }
    const tick = (): void => {
      try {
        send()
      } catch (error) {
        stop()
        reject(ClusterError.from(error))
      }
    }
    const timer = setInterval(tick, FRAME_EVERY_MS)
    signal.addEventListener('abort', end, { once: true })
    tick()
  })
}

const NAME = /^[\x21-\x7e]{1,128}$/

function viewerOf({ searchParams }: URL, tenant: string): Viewer {
  const console = searchParams.get('console') ?? ''
  const watch = searchParams.get('watch') ?? undefined
  if (!NAME.test(console)) throw refuse('console', 'want a name of 1 to 128 printable characters')
  if (watch !== undefined && (watch.length === 0 || watch.length > 128))
    throw refuse('watch', 'want a request id of 1 to 128 characters')
  return { tenant, console, request: watch }
}

const refuse = (field: string, what: string): ClusterError =>
  new ClusterError('invalid_argument', `${field}: ${what}`, { details: { field } })
