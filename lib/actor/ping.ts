// A mailbox that says that its process is alive. It has no other work, so nothing that a worker does one after another
// (a step, loading a shard) keeps it from answering; only a process that does not run does.

import type { ActorDefinition } from './actor.js'

export const pingAddress = (id: string): string => `${id}.ping`

/** What a ping asks; answered with `request.done`. */
export const pingFrom = (asker: string) =>
  ({ kind: 'worker.ping', body: { asker }, replyKind: 'request.done' }) as const

export const pingActor = (id: string): ActorDefinition => ({
  address: pingAddress(id),
  mailboxCapacity: 1024,
  systemKinds: new Set(),
  create: () => ({ 'worker.ping': () => undefined }),
})
