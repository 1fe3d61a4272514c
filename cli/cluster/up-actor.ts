// What `banyan up` answers on its cluster's bus: that it is there, and for how many processes it keeps.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { UP_ADDRESS } from '../../lib/wire/subjects.js'
import type { RunningServices } from './services.js'

export interface UpDuties {
  /** Throws `unavailable` while the cluster starts or leaves. */
  readonly scale: RunningServices['scale']
}

export function answerAsUp(bus: ActorSystem, name: string, { scale }: UpDuties): void {
  bus.spawn({
    address: UP_ADDRESS,
    mailboxCapacity: 16,
    systemKinds: new Set(),
    create: () => ({
      'cluster.status': () => ({ kind: 'cluster.state', json: JSON.stringify({ name, pid: process.pid }) }),
      'cluster.scale': (wanted) => ({ kind: 'cluster.scaled', ...scale(wanted) }),
    }),
  })
}
