// Every subject in one place. `cluster` separates clusters that share one NATS server.

/** Where `banyan up` answers for the processes that it started. */
export const UP_ADDRESS = 'up'

/** 'banyan.v1.<cluster>' */
const root = (cluster: string): string => `banyan.v1.${cluster}`

export const subjects = {
  /** An actor's mailbox, e.g. 'banyan.v1.main.actor.attention-0'. */
  actor: (cluster: string, address: string): string => `${root(cluster)}.actor.${address}`,
  /** Heartbeats of every process. */
  health: (cluster: string): string => `${root(cluster)}.health`,
  /** Actors that stopped. */
  obituaries: (cluster: string): string => `${root(cluster)}.obituaries`,
  /** The journal of accepted requests, a record each below it. */
  journal: (cluster: string): string => `${root(cluster)}.journal`,
  /** Any router (queue group `routers`). */
  routers: (cluster: string): string => `${root(cluster)}.routers`,
}
