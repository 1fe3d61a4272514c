// Every route of the HTTP door.

import * as z from 'zod'
import { ClusterError } from '../../../lib/errors.js'
import { wantedSizesSchema } from '../../../lib/wire/sizes.js'
import type { HeldTokens, ModelInfo } from '../engine.js'
import { sendJson, type Exchange } from './exchange.js'
import { unknownRequest } from '../requests.js'
import { checkModel, checkVocabulary, MAX_CHOICES } from '../validate.js'
import { answerChat, answerCompletions, answerRest } from './generation.js'
import { answerRecords } from './records.js'
import { answerConsoleFeed } from './console-feed.js'
import { answerConsoleFile, redirectToConsole } from './console-files.js'
import { parseBody, refuse } from './schemas.js'
import { snakeCase } from '../snake-case.js'

export interface Route {
  readonly method: string
  readonly path: RegExp
  readonly isOpen?: boolean // answers without a key
  readonly answer: (exchange: Exchange) => Promise<void> | void
}

const modelObject = (model: ModelInfo): Record<string, unknown> => ({
  id: model.id,
  object: 'model',
  created: Math.floor(model.createdUnixMs / 1000),
  owned_by: 'banyan',
  max_model_len: model.maxPositions,
  vocab_size: model.vocabSize,
  reserved_tokens: model.reservedTokens.map(({ first, last }) => [first, last]),
})

function answerModel({ engine, params, response }: Exchange): void {
  checkModel(params[0], engine.model)
  sendJson(response, modelObject(engine.model))
}

async function answerRequest(exchange: Exchange): Promise<void> {
  const { engine, params, request, response, tenant, url } = exchange
  const [id = ''] = params
  const held = readOffsets(url.searchParams.get('offset'))
  if (request.headers.accept?.includes('text/event-stream') === true) return answerRest(exchange, id, held)
  const state = await engine.lookup(id, tenant)
  if (state === undefined) throw unknownRequest(id)
  const choices = state.choices.map(({ tokenIds, text, finishReason }) => ({
    token_ids: tokenIds,
    text,
    finish_reason: finishReason ?? null,
  }))
  sendJson(response, { id: state.requestId, state: state.state, choices })
}

const MAX_OFFSET = 2 ** 31 - 1

/** `offset=n`: tokens held of every choice; `offset=n,m`: of the first, of the second, … */
function readOffsets(text: string | null): HeldTokens {
  if (text === null) return []
  const offsets = text.split(',').map((part) => (/^\d{1,10}$/.test(part) ? Number(part) : NaN))
  if (offsets.length > MAX_CHOICES || !offsets.every((offset) => offset <= MAX_OFFSET)) {
    throw new ClusterError('invalid_argument', `offset: want a count of tokens, or one per choice, got ${text}`, {
      details: { field: 'offset' },
    })
  }
  const [first = 0] = offsets
  return offsets.length === 1 ? Array.from({ length: MAX_CHOICES }, () => first) : offsets
}

async function cancelRequest({ engine, params, response, tenant }: Exchange): Promise<void> {
  const [id = ''] = params
  const cancelled = await engine.cancel(id, tenant)
  if (cancelled === undefined) throw unknownRequest(id)
  sendJson(response, { id, cancelled })
}

const model = z.string().nullish()
const tokenizeSchema = z.object({ model, prompt: z.string(), add_special_tokens: z.boolean().default(true) })
const detokenizeSchema = z.object({ model, tokens: z.array(z.int().min(0)).max(1_000_000) })

async function answerTokens({ engine, body, response, signal }: Exchange): Promise<void> {
  const { model, prompt, add_special_tokens: isWhole } = parseBody(tokenizeSchema, await body())
  checkModel(model, engine.model)
  const tokens = await engine.tokenize(prompt, signal, !isWhole)
  sendJson(response, { tokens, count: tokens.length, max_model_len: engine.model.maxPositions })
}

async function answerText({ engine, body, response }: Exchange): Promise<void> {
  const { model, tokens } = parseBody(detokenizeSchema, await body())
  checkModel(model, engine.model)
  checkVocabulary('tokens', tokens, engine.model)
  sendJson(response, { prompt: engine.detokenize(tokens) })
}

async function answerScale({ engine, body, response }: Exchange): Promise<void> {
  const wanted = parseBody(wantedSizesSchema.strict(), await body())
  if (Object.keys(wanted).length === 0)
    throw refuse('body', 'want at least one of routers, attention, experts, drafters and replicas')
  sendJson(response, { wanted: await engine.scale(wanted) })
}

const ROUTES: readonly Route[] = [
  { method: 'POST', path: /^\/v1\/chat\/completions$/, answer: answerChat },
  { method: 'POST', path: /^\/v1\/completions$/, answer: answerCompletions },
  {
    method: 'GET',
    path: /^\/v1\/models$/,
    answer: ({ engine, response }) => sendJson(response, { object: 'list', data: [modelObject(engine.model)] }),
  },
  { method: 'GET', path: /^\/v1\/models\/(.+)$/, answer: answerModel },
  { method: 'GET', path: /^\/v1\/requests\/([^/]+)$/, answer: answerRequest },
  { method: 'DELETE', path: /^\/v1\/requests\/([^/]+)$/, answer: cancelRequest },
  { method: 'GET', path: /^\/health$/, isOpen: true, answer: ({ response }) => void response.writeHead(200).end() },
  {
    method: 'GET',
    path: /^\/ready$/,
    isOpen: true,
    answer: ({ engine, response }) => sendJson(response, { ready: engine.isReady() }, engine.isReady() ? 200 : 503),
  },
  {
    method: 'GET',
    path: /^\/version$/,
    isOpen: true,
    answer: ({ engine, response }) =>
      sendJson(response, {
        version: engine.version,
        fingerprint: engine.fingerprint(),
        fingerprint_parts: snakeCase(engine.fingerprintParts()),
      }),
  },
  {
    method: 'GET',
    path: /^\/metrics$/,
    answer: async ({ engine, response }) => {
      const text = await engine.metrics()
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text)
    },
  },
  { method: 'GET', path: /^\/cluster$/, answer: ({ engine, response }) => sendJson(response, engine.status()) },
  { method: 'GET', path: /^\/cluster\/records$/, answer: answerRecords },
  { method: 'POST', path: /^\/cluster\/scale$/, answer: answerScale },
  { method: 'GET', path: /^\/console\/feed$/, answer: answerConsoleFeed },
  { method: 'GET', path: /^\/console\/$/, isOpen: true, answer: redirectToConsole },
  { method: 'GET', path: /^\/console(?:\/((?!feed$).+))?$/, isOpen: true, answer: answerConsoleFile },
  { method: 'POST', path: /^\/tokenize$/, answer: answerTokens },
  { method: 'POST', path: /^\/detokenize$/, answer: answerText },
]

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (error) {
    throw new ClusterError('invalid_argument', `path: want percent-encoded UTF-8, got ${part}`, { cause: error })
  }
}

/** The route of a request. Throws `not_found`, or with the allowed methods where only the method is wrong. */
export function findRoute(method: string, path: string): { readonly route: Route; readonly params: readonly string[] } {
  const onPath = ROUTES.filter((route) => route.path.test(path))
  const wanted = method === 'HEAD' ? 'GET' : method
  const route = onPath.find((candidate) => candidate.method === wanted)
  if (route !== undefined)
    return { route, params: (route.path.exec(path) ?? []).slice(1).map((part = '') => decodePart(part)) }
  if (onPath.length === 0)
    throw new ClusterError('not_found', `${path}: no such path`, { details: { reason: 'NO_SUCH_PATH' } })
  const allow = onPath.map((candidate) => candidate.method).join(', ')
  throw new ClusterError('invalid_argument', `${path}: want ${allow}, got ${method}`, {
    details: { httpStatus: '405', allow },
  })
}
