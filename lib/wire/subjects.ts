// Every subject in one place. `cluster` separates clusters that share one NATS server.
//
// Invariants
//   SU1  A mailbox's role is a token of its own, so that a server can give each role what it needs and nothing else.

const ROLES = ['router', 'attention', 'expert-worker', 'drafter']

/** Where `banyan up` answers for the processes that it started. */
export const UP_ADDRESS = 'up'

/** 'banyan.v1.<cluster>' */
const root = (cluster: string): string => `banyan.v1.${cluster}`

export const subjects = {
  /** An actor's mailbox, e.g. 'banyan.v1.main.actor.attention.attention-0'; who serves nothing is a `client`. */
  actor: (cluster: string, address: string): string => `${root(cluster)}.actor.${roleOf(address)}.${address}`,
  /** Heartbeats of every process. */
  health: (cluster: string): string => `${root(cluster)}.health`,
  /** Actors that stopped. */
  obituaries: (cluster: string): string => `${root(cluster)}.obituaries`,
  /** The journal of accepted requests, a record each below it. */
  journal: (cluster: string): string => `${root(cluster)}.journal`,
  /** Any router (queue group `routers`). */
  routers: (cluster: string): string => `${root(cluster)}.routers`,
}

const roleOf = (address: string): string => ROLES.find((role) => address.startsWith(`${role}-`)) ?? 'client'
