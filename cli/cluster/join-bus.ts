// Decides the name under which a cluster goes by on its NATS server. Whoever holds a name answers at its address `up`;
// a name that is answered for is taken.

import { randomBytes } from 'node:crypto'
import type { ActorSystem } from '../../lib/actor/actor.js'
import { systemClock, systemRandom } from '../../lib/actor/clock.js'
import { createActorSystem } from '../../lib/actor/system.js'
import { natsOptions } from '../../lib/config/options.js'
import type { ResolvedConfig } from '../../lib/config/resolve.js'
import { ClusterError } from '../../lib/errors.js'
import { connectNats } from '../../lib/transport/nats.js'
import { withoutLogin } from '../../lib/transport/nats-access.js'
import { UP_ADDRESS } from '../../lib/wire/subjects.js'
import { speakingUpTo } from '../../lib/wire/versions.js'
import { answerAsUp, type UpDuties } from './up-actor.js'

const CLAIM_TIMEOUT_MS = 2_000

export interface JoinOptions extends UpDuties {
  readonly url: string
  readonly resolved: ResolvedConfig
  readonly notify: (line: string) => void
  readonly closers: (() => Promise<void>)[] // gets what is to be undone, in the order of its doing
}

export interface Joined {
  readonly bus: ActorSystem
  readonly name: string
}

/** A place on the bus under a name that no other `up` holds: the given one, or a fresh one where nobody asked for a name. */
export async function joinBus({ url, resolved, notify, closers, scale }: JoinOptions): Promise<Joined> {
  const { config, origins } = resolved
  const transport = await connectNats({ ...natsOptions(config, 'banyan-up', UP_ADDRESS), url })
  closers.push(() => transport.close())
  const join = (cluster: string): ActorSystem => {
    const bus = createActorSystem({
      transport,
      clock: systemClock,
      random: systemRandom,
      cluster,
      node: UP_ADDRESS,
      speaks: speakingUpTo(config.wireVersion),
    })
    closers.push(() => bus.stop())
    return bus
  }
  const claim = (bus: ActorSystem, name: string): Joined => {
    answerAsUp(bus, name, { scale })
    return { bus, name }
  }
  const asked = join(config.cluster)
  if (!(await isTaken(asked))) return claim(asked, config.cluster)
  if (origins.cluster !== 'default') {
    throw new ClusterError(
      'already_exists',
      `cluster ${config.cluster}: already up on ${withoutLogin(url)}; choose another --cluster`,
    )
  }
  const name = `${config.cluster}-${randomBytes(4).toString('hex')}`
  notify(`a cluster named ${config.cluster} is already up on this NATS server; this one is ${name}`)
  return claim(join(name), name)
}

async function isTaken(bus: ActorSystem): Promise<boolean> {
  try {
    await bus.ask(
      UP_ADDRESS,
      { kind: 'cluster.status', body: { asker: UP_ADDRESS }, replyKind: 'cluster.state' },
      { timeoutMs: CLAIM_TIMEOUT_MS },
    )
    return true
  } catch (error) {
    const { code } = ClusterError.from(error)
    if (code === 'unavailable') return false // nobody answers there
    if (code === 'deadline_exceeded') return true // somebody is there, and busy
    throw error
  }
}
