// Requests that run on another router: their events, asked for again and again, and their cancelling. And the other side
// of it: what this router answers to others.

import type { ActorDefinition, ActorSystem } from '../../lib/actor/actor.js'
import { ClusterError, isErrorCode } from '../../lib/errors.js'
import type { Body } from '../../lib/wire/messages.js'
import type { GenerateEvent, HeldTokens } from './engine.js'
import type { Owner } from './journal.js'
import { beyond } from './request-log.js'
import { isDetached, type RequestRecord, type Requests } from './requests.js'

const ASK_TIMEOUT_MS = 1_000 // a router that does not answer within this is taken for gone
const LINGER_MS = 3_000 // a follower that asks no more within this has left

const requestsAddress = (router: string): string => `${router}.requests`

/** Of a request, wherever it runs. */
interface Name {
  readonly id: string
  readonly tenant: string
}

export interface Followed {
  readonly events: readonly GenerateEvent[]
  readonly isClosed: boolean
  readonly error: ClusterError | undefined
}

export interface OtherRouters {
  /** What there is beyond the tokens held; undefined where the owner is gone or has it no more. Throws `unavailable` while the bus is away. */
  follow(request: Name, owner: Owner, held: HeldTokens): Promise<Followed | undefined>
  /** Whether the request was still running there; undefined as above. */
  cancel(request: Name, owner: Owner): Promise<boolean | undefined>
}

export function createOtherRouters(system: ActorSystem): OtherRouters {
  /** Undefined: nobody there, or not any more. */
  const unlessGone = async <T>(asking: Promise<T>): Promise<T | undefined> => {
    try {
      return await asking
    } catch (error) {
      const { code, details } = ClusterError.from(error)
      const isGone = code === 'not_found' || code === 'deadline_exceeded'
      if (isGone || (code === 'unavailable' && details.reason !== 'DISCONNECTED')) return undefined
      throw error
    }
  }

  return {
    follow: async ({ id, tenant }, { router, incarnation }, held) => {
      const body = { id, tenant, incarnation, held: Array.from(held, (count) => count ?? 0) }
      const question = { kind: 'request.follow', body, replyKind: 'request.events' } as const
      const reply = await unlessGone(system.ask(requestsAddress(router), question, { timeoutMs: ASK_TIMEOUT_MS }))
      if (reply === undefined) return undefined
      return { events: readEvents(reply.events), isClosed: reply.closed, error: reply.error && toError(reply.error) }
    },
    cancel: async ({ id, tenant }, { router, incarnation }) => {
      const question = {
        kind: 'request.cancel',
        body: { id, tenant, incarnation },
        replyKind: 'request.cancelled',
      } as const
      const reply = await unlessGone(system.ask(requestsAddress(router), question, { timeoutMs: ASK_TIMEOUT_MS }))
      return reply?.wasRunning
    },
  }
}

export interface RequestActorOptions {
  readonly router: string
  readonly incarnation: string
  readonly system: ActorSystem
  readonly requests: Requests
  readonly cancel: (record: RequestRecord) => void
}

/** Answers other routers about the requests that run here. */
export function requestActor({ router, incarnation, system, requests, cancel }: RequestActorOptions): ActorDefinition {
  const followed = new WeakMap<RequestRecord, () => void>() // ends the last follower's stay

  /** Another router's client reads along: without readers of its own the request would be abandoned. */
  const linger = (record: RequestRecord): void => {
    const release = record.log.hold()
    followed.get(record)?.()
    const cancelTimer = system.clock.after(LINGER_MS, release)
    followed.set(record, () => {
      cancelTimer()
      release()
    })
  }

  const find = (name: Name, asked: string): RequestRecord => {
    const record = asked === incarnation ? requests.get(name.tenant, name.id) : undefined
    if (record !== undefined && record.runsAt === undefined && !isDetached(record)) return record
    throw new ClusterError('not_found', `request ${name.id}: does not run here`, {
      details: { reason: 'REQUEST_NOT_HERE' },
    })
  }

  return {
    address: requestsAddress(router),
    mailboxCapacity: 4096,
    systemKinds: new Set(),
    create: () => ({
      'request.follow': ({ id, tenant, incarnation: asked, held }) => {
        const record = find({ id, tenant }, asked)
        const { log } = record
        if (!log.isClosed) linger(record)
        log.noteRead(held)
        return { kind: 'request.events', ...describeLog(record, held) }
      },
      'request.cancel': ({ id, tenant, incarnation: asked }) => {
        const record = find({ id, tenant }, asked)
        const wasRunning = !record.log.isClosed
        if (wasRunning) cancel(record)
        return { kind: 'request.cancelled', wasRunning }
      },
    }),
  }
}

function describeLog({ log }: RequestRecord, held: HeldTokens): Body<'request.events'> {
  const news = log.events.flatMap((event) => beyond(event, held) ?? [])
  const { error } = log
  return {
    events: JSON.stringify(news, (_, value: unknown) =>
      typeof value === 'bigint' ? { bigint: String(value) } : value,
    ),
    closed: log.isClosed,
    ...(error !== undefined && { error: { ...error.toWire(), details: { ...error.details } } }),
  }
}

const isBigint = (value: unknown): value is { readonly bigint: string } =>
  typeof value === 'object' && value !== null && 'bigint' in value && typeof value.bigint === 'string'

// A router of this cluster wrote it, from these very types.
const readEvents = (json: string): readonly GenerateEvent[] =>
  JSON.parse(json, (_, value: unknown) => (isBigint(value) ? BigInt(value.bigint) : value)) as readonly GenerateEvent[]

const toError = ({ code, message, details }: NonNullable<Body<'request.events'>['error']>): ClusterError =>
  new ClusterError(isErrorCode(code) ? code : 'internal', message, { details })
