// OpenAI-like endpoints for tests, in this process: one that answers at once and tells what it was asked, and one that
// misbehaves in every way there is.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { text as readAll } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'

export interface Asked {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly requestId: string
}

export interface TestEndpoint {
  readonly url: string
  readonly asked: readonly Asked[]
  close(): Promise<void>
}

type Answer = (asked: Asked, response: ServerResponse) => void

export async function startEndpoint(answer: Answer): Promise<TestEndpoint> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    void readAsked(request).then((one) => {
      if (request.method === 'POST' && one.path.startsWith('/v1/')) asked.push(one)
      answer(one, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${portOf(server)}`, asked, close: () => closed(server) }
}

async function readAsked(request: IncomingMessage): Promise<Asked> {
  const text = await readAll(request)
  const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> // our own client sends objects
  return { path: request.url ?? '', body, requestId: String(request.headers['x-request-id'] ?? '') }
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
}

export const chunk = (fields: Readonly<Record<string, unknown>>): string => `data: ${JSON.stringify(fields)}\n\n`

export const openStream = (response: ServerResponse): void =>
  void response.writeHead(200, { 'content-type': 'text/event-stream' })

/** A whole answer at once: one chunk per token, with ids and usage where they were asked for. */
export const answerFast: Answer = ({ path, body }, response) => {
  if (!path.startsWith('/v1/') || path === '/v1/models') return void response.writeHead(404).end()
  const numTokens = Number(body.max_tokens ?? 4)
  openStream(response)
  for (let i = 0; i < numTokens; i++) {
    const ids = body.return_token_ids === true ? { token_ids: [100 + i] } : {}
    const content = path.endsWith('/chat/completions') ? { delta: { content: 'a' } } : { text: 'a' }
    const reason = i === numTokens - 1 ? 'length' : null
    response.write(
      chunk({ system_fingerprint: 'toy', choices: [{ index: 0, ...content, ...ids, finish_reason: reason }] }),
    )
  }
  if (body.stream_options !== undefined)
    response.write(chunk({ choices: [], usage: { prompt_tokens: 3, completion_tokens: numTokens } }))
  response.end('data: [DONE]\n\n')
}

/** What each misbehaviour is to be counted as; the endpoint picks it by the request's seed. */
export const MISBEHAVIOURS: readonly { readonly kind: string; readonly answer: Answer }[] = [
  { kind: 'first_byte_timeout', answer: () => undefined },
  {
    kind: 'chunk_timeout',
    answer: (_, response) => (openStream(response), void response.write(chunk({ choices: [{ index: 0, text: 'a' }] }))),
  },
  {
    kind: 'closed_mid_stream',
    answer: (_, response) => {
      openStream(response)
      response.write(chunk({ choices: [{ index: 0, text: 'a' }] }), () => response.destroy())
    },
  },
  {
    kind: 'closed_mid_stream',
    answer: (_, response) => (openStream(response), void response.end(chunk({ choices: [{ index: 0, text: 'a' }] }))),
  },
  { kind: 'connection_reset', answer: (_, response) => void response.destroy() },
  { kind: 'bad_json', answer: (_, response) => (openStream(response), void response.end('data: {"choices": [\n\n')) },
  { kind: 'bad_chunk', answer: (_, response) => (openStream(response), void response.end(chunk({ hello: 'world' }))) },
  {
    kind: 'bad_chunk',
    answer: (_, response) => (
      openStream(response),
      void response.end(chunk({ choices: [], usage: { prompt_tokens: -3 } }))
    ),
  },
  {
    kind: 'bad_chunk',
    answer: (_, response) => (
      openStream(response),
      void response.end(chunk({ choices: [{ index: 0, text: 'a', token_ids: [1.5, -1] }] }))
    ),
  },
  { kind: 'bad_stream', answer: (_, response) => (openStream(response), void response.end('I am a teapot')) },
  { kind: 'empty_answer', answer: (_, response) => (openStream(response), void response.end('data: [DONE]\n\n')) },
  {
    kind: 'wrong_content_type',
    answer: (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hello</p>'),
  },
  {
    kind: 'wrong_content_encoding',
    answer: (_, response) =>
      void response
        .writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
        .end(gzipSync('data: [DONE]\n\n')),
  },
  {
    kind: 'server_error',
    answer: (_, response) => (openStream(response), void response.end(chunk({ error: { message: 'out of memory' } }))),
  },
  {
    kind: 'http_503',
    answer: (_, response) =>
      void response.writeHead(503).end(JSON.stringify({ error: { message: 'come back later' } })),
  },
  { kind: 'http_500', answer: (_, response) => void response.writeHead(500).end('boom') },
  { kind: 'bad_http', answer: (_, response) => void response.socket?.end('nonsense\r\n\r\n') },
]

export const answerBadly: Answer = (asked, response) => {
  if (!asked.path.startsWith('/v1/') || asked.path === '/v1/models') return void response.writeHead(404).end()
  const misbehaviour = MISBEHAVIOURS[Number(asked.body.seed)]
  ;(misbehaviour?.answer ?? answerFast)(asked, response)
}
