// What a router knows of one incarnation of an expert worker that it places shards on.

import { ClusterError, type ErrorCode } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import type { Duty } from './membership.js'
import type { Placement } from './placement.js'

export interface Partner {
  readonly id: string
  readonly incarnation: string
  readonly node: string | undefined
  duty: Duty
  isReserve: boolean
  holds: readonly number[] // of the shards that it was last asked for, those that it confirmed
  isAsked: boolean
  isStale: boolean // what it holds for us is not known for certain: ask, whatever `holds` says
  isSilent: boolean
  hasFailed: boolean // to hold what it was asked for, the last time
  refusal: ClusterError | undefined // the model is at fault, and no retry mends that
}

/** One that nothing is known of yet: it is asked, whatever it holds. */
export const newPartner = ({ id, incarnation, node }: Heartbeat, duty: Duty): Partner => ({
  id,
  incarnation,
  node,
  duty,
  isReserve: false,
  holds: [],
  isAsked: false,
  isStale: true,
  isSilent: false,
  hasFailed: false,
  refusal: undefined,
})

const LASTING: readonly ErrorCode[] = ['invalid_argument', 'not_found', 'permission_denied', 'unimplemented']

/** The error under the worker's name, where it says that the model cannot be held. */
export const refusalOf = ({ id }: Partner, error: ClusterError): ClusterError | undefined =>
  LASTING.includes(error.code)
    ? new ClusterError(error.code, `${id}: ${error.message}`, { cause: error, details: error.details })
    : undefined

/** Shards that a worker is named for, ascending. */
export const shardsOf = (placement: Placement, worker: string): number[] =>
  placement.flatMap((holders, shard) => (holders.includes(worker) ? [shard] : []))

/** Whether none of these workers could hold what it was asked for. */
export const haveFailed = (workers: readonly string[], partners: ReadonlyMap<string, Partner>): boolean =>
  workers.every((worker) => [...partners.values()].some(({ id, hasFailed }) => id === worker && hasFailed))
