// A mailbox that says that its process is alive. It has no other work, so nothing that a worker does one after another
// (a step, loading a shard) keeps it from answering; only a process that does not run does.

import { ClusterError } from '../errors.js'
import type { ActorDefinition } from './actor.js'

export const pingAddress = (id: string): string => `${id}.ping`

/** The reason of a `not_found`: the process lives, and does not have the question that the ping was about. */
export const NOT_IN_HAND = 'NOT_IN_HAND'

/** What a ping asks: whether the process lives and, where it is about a question, has that one in hand. */
export const pingFrom = (asker: string, question?: string) =>
  ({
    kind: 'worker.ping',
    body: { asker, ...(question !== undefined && { question }) },
    replyKind: 'request.done',
  }) as const

/** `isInHand`: whether a message waits here or is being answered. */
export const pingActor = (id: string, isInHand: (message: string) => boolean = () => true): ActorDefinition => ({
  address: pingAddress(id),
  mailboxCapacity: 1024,
  systemKinds: new Set(),
  create: () => ({
    'worker.ping': ({ question }) => {
      if (question === undefined || isInHand(question)) return undefined
      throw new ClusterError('not_found', `${id}: question ${question} is not in hand here`, {
        details: { reason: NOT_IN_HAND },
      })
    },
  }),
})
