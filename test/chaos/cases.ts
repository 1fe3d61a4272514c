// Every fault, by name: the cluster that it strikes and what is done to it, in the middle of the streams.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Role } from '../../lib/wire/messages.js'
import type { ChaosShape } from './chaos-cluster.js'
import { fillStore } from './full-store.js'
import type { Process, Scene } from './scene.js'
import type { NetworkFault } from './tcp-proxy.js'

export interface ChaosCase {
  readonly name: string
  readonly shape: ChaosShape
  readonly promptTokens?: number // of every prompt; absent: prompts of any length
  /** The cluster ends in it: streams that run are finished, and nothing is asked of it afterwards. */
  readonly isEnd?: boolean
  readonly inject: (scene: Scene) => Promise<void>
}

const SHAPE: ChaosShape = {
  routers: 1,
  attention: 2,
  experts: 2,
  replicas: 2,
  drafters: 1,
  nats: 'private',
  links: true,
}
const ALONE: ChaosShape = { ...SHAPE, attention: 1, replicas: 1 }
const TWO_ROUTERS: ChaosShape = { ...SHAPE, routers: 2 }

type Inject = ChaosCase['inject']

const chaosCase = (name: string, shape: ChaosShape, inject: Inject): ChaosCase => ({ name, shape, inject })

/** A case that begins at the token that the seed drew. */
const struck = (name: string, shape: ChaosShape, inject: Inject): ChaosCase =>
  chaosCase(name, shape, async (scene) => {
    await scene.strike()
    await inject(scene)
  })

const killOne =
  (role: Role): Inject =>
  async (scene) =>
    scene.kill(await scene.victim(role))

async function killTwo(scene: Scene, role: Role): Promise<void> {
  const first = await scene.victim(role)
  const second = await scene.victim(role, first)
  scene.kill(first)
  scene.kill(second)
}

const PREFILLED_TOKENS = 256 // of what every sequence of a lost attention worker is prefilled again from

const KILLS: readonly ChaosCase[] = [
  struck('kill-expert', SHAPE, killOne('expert-worker')),
  struck('kill-expert-alone', ALONE, killOne('expert-worker')),
  struck('kill-two-experts', { ...SHAPE, experts: 3 }, (scene) => killTwo(scene, 'expert-worker')),
  struck('kill-all-experts', ALONE, (scene) => killTwo(scene, 'expert-worker')),
  { ...struck('kill-attention', SHAPE, killOne('attention')), promptTokens: PREFILLED_TOKENS },
  { ...struck('kill-attention-alone', ALONE, killOne('attention')), promptTokens: PREFILLED_TOKENS },
  struck('kill-drafter', SHAPE, killOne('drafter')),
  struck('kill-router', SHAPE, killOne('router')),
  struck('kill-router-of-two', TWO_ROUTERS, killOne('router')),
]

function privateNats({ cluster }: Scene): Process {
  const server = cluster.privateNats()
  if (server === undefined) throw new Error('want a nats-server below `up`, found none')
  return server
}

const PAUSES_S = [0.3, 3, 30]
const PAUSED: readonly (readonly [string, Role, ChaosShape])[] = [
  ['expert', 'expert-worker', SHAPE],
  ['attention', 'attention', SHAPE],
  ['drafter', 'drafter', SHAPE],
  ['router', 'router', SHAPE],
  ['router-of-two', 'router', TWO_ROUTERS],
]

const PAUSES: readonly ChaosCase[] = PAUSES_S.flatMap((seconds) => [
  ...PAUSED.map(([word, role, shape]) =>
    struck(`pause-${word}-${seconds}s`, shape, async (scene) => scene.pause(await scene.victim(role), seconds * 1000)),
  ),
  struck(`pause-nats-${seconds}s`, SHAPE, (scene) => scene.pause(privateNats(scene), seconds * 1000)),
])

async function restartNats(scene: Scene, downMs: number, withoutStore: boolean): Promise<void> {
  const { nats } = scene.cluster
  if (nats === undefined) throw new Error('want NATS servers of the case, found none')
  scene.note(`SIGKILL nats-server, for ${downMs} ms`)
  await nats.kill(0)
  await sleep(downMs)
  await nats.start(0, { withoutStore })
  scene.note(`nats-server is back ${withoutStore ? 'without' : 'with'} its store`)
}

const OWN_NATS: ChaosShape = { ...SHAPE, nats: 'own' }
const NATS: readonly ChaosCase[] = [
  struck('kill-nats', SHAPE, async (scene) => scene.kill(privateNats(scene))),
  struck('restart-nats-with-store', OWN_NATS, (scene) => restartNats(scene, 500, false)),
  struck('restart-nats-without-store', OWN_NATS, (scene) => restartNats(scene, 500, true)),
  struck('nats-gone-10s', OWN_NATS, (scene) => restartNats(scene, 10_000, false)),
  struck('kill-one-nats-of-three', { ...SHAPE, nats: 'three' }, (scene) => restartNats(scene, 5_000, false)),
]

const FAULTS: readonly (readonly [string, NetworkFault])[] = [
  ['blackhole', { kind: 'blackhole' }],
  ['half-open-up', { kind: 'half-open', lost: 'up' }],
  ['half-open-down', { kind: 'half-open', lost: 'down' }],
  ['cut', { kind: 'cut' }],
  ['duplicate', { kind: 'duplicate' }],
  ['delay', { kind: 'delay', ms: 200, jitterMs: 100 }],
  ['slow', { kind: 'slow', bytesPerSecond: 1_000_000 }],
]
const PARTITION_MS = 4_000

const partition = (word: string, role: Role, shape: ChaosShape): ChaosCase[] =>
  FAULTS.map(([fault, injected]) =>
    struck(`partition-${word}-${fault}`, { ...shape, nats: 'own', apart: role }, (scene) =>
      scene.partition(injected, PARTITION_MS),
    ),
  )

const NO_LINKS: ChaosShape = { ...SHAPE, links: false }
const PARTITIONS: readonly ChaosCase[] = [
  ...partition('expert', 'expert-worker', NO_LINKS),
  ...partition('attention', 'attention', NO_LINKS),
  ...partition('drafter', 'drafter', NO_LINKS),
  ...partition('router', 'router', { ...NO_LINKS, routers: 2 }),
  ...partition('linked-expert', 'expert-worker', SHAPE), // NATS is lost, the direct connections stand
]

/** Three times in a row, each at some moment of the next process's start. */
async function killWhileLoading(scene: Scene): Promise<void> {
  let victim: Process = await scene.victim('expert-worker')
  scene.kill(victim)
  for (let round = 0; round < 3; round++) {
    victim = await scene.reborn(victim)
    await sleep(Math.floor(scene.random() * 2_000))
    scene.kill(victim)
  }
}

/** Right after tokens arrived: what they came from is being committed. */
async function killWhileCommitting(scene: Scene): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const victim = await scene.victim('attention')
    await scene.moreTokens(100 + Math.floor(scene.random() * 100))
    scene.kill(victim)
    await scene.back(victim)
  }
}

async function killWhileDraining(scene: Scene): Promise<void> {
  const expert = await scene.victim('expert-worker')
  const attention = await scene.victim('attention')
  scene.note('SIGTERM up')
  scene.cluster.up.cli.child.kill('SIGTERM')
  await scene.moreTokens(20)
  scene.kill(expert)
  await scene.moreTokens(20)
  scene.kill(attention)
}

async function killWhileRecovering(scene: Scene): Promise<void> {
  const expert = await scene.victim('expert-worker')
  const first = await scene.victim('attention')
  scene.kill(first)
  await sleep(Math.floor(scene.random() * 300))
  scene.kill(expert)
  await sleep(Math.floor(scene.random() * 300))
  scene.kill(await scene.victim('attention', first))
}

const LOOP_MS = 60_000
const LOOP_EVERY_MS = 2_000
const LOOP_ROLES: readonly Role[] = ['expert-worker', 'attention', 'drafter', 'router']

async function killInALoop(scene: Scene): Promise<void> {
  for (const end = Date.now() + LOOP_MS; Date.now() < end && !scene.signal.aborted; await sleep(LOOP_EVERY_MS)) {
    const role = LOOP_ROLES[Math.floor(scene.random() * LOOP_ROLES.length)] ?? 'drafter'
    const victims = await scene.cluster.ready(role)
    const victim = victims[Math.floor(scene.random() * victims.length)]
    if (victim !== undefined) scene.kill(victim)
  }
}

const HOUR_MS = 3_600_000
const CLOCKED: ChaosShape = { ...SHAPE, isBent: true }

function moveClock(scene: Scene, victim: Process | 'all', offsetMs: number): void {
  scene.note(`the clock of ${victim === 'all' ? 'all' : victim.id} moves by ${offsetMs} ms`)
  scene.cluster.bent?.moveClock(victim === 'all' ? 'all' : victim.pid, offsetMs)
}

const CLOCKS: readonly ChaosCase[] = [
  struck('clock-ahead', CLOCKED, async (scene) => moveClock(scene, 'all', HOUR_MS)),
  struck('clock-back', CLOCKED, async (scene) => moveClock(scene, 'all', -HOUR_MS)),
  struck('clock-ahead-router', CLOCKED, async (scene) => moveClock(scene, await scene.victim('router'), HOUR_MS)),
  struck('clock-back-attention', CLOCKED, async (scene) => moveClock(scene, await scene.victim('attention'), -HOUR_MS)),
]

const STORE_BYTES = 8 * 2 ** 20
const FULL_MS = 3_000

async function fillJetStream(scene: Scene): Promise<void> {
  scene.note('JetStream is full')
  const makeRoom = await fillStore(scene.cluster.nats?.url ?? '')
  await sleep(FULL_MS)
  await makeRoom()
  scene.note('JetStream has room again')
}

async function fillDisk(scene: Scene): Promise<void> {
  const { bent, up } = scene.cluster
  scene.note('no file of the cluster can grow')
  bent?.limitFiles(up.cli.pid, true)
  await sleep(FULL_MS)
  bent?.limitFiles(up.cli.pid, false)
  scene.note('files can grow again')
}

async function killAlone(scene: Scene): Promise<void> {
  const { up } = scene.cluster
  scene.note(`SIGKILL up (${up.cli.pid})`)
  await up.kill()
  await up.again()
  scene.note(`up is back (${up.cli.pid})`)
}

const IN_ONE_PROCESS: ChaosShape = { ...ALONE, nats: 'none', isBent: true }
const JOURNALS: readonly ChaosCase[] = [
  struck('kill-local', IN_ONE_PROCESS, killAlone),
  struck('disk-full-local', IN_ONE_PROCESS, fillDisk),
  struck('disk-full-jetstream', { ...OWN_NATS, storeBytes: STORE_BYTES }, fillJetStream),
]

const TIMES: readonly ChaosCase[] = [
  struck('kill-during-load', SHAPE, killWhileLoading),
  struck('kill-during-commit', SHAPE, killWhileCommitting),
  { ...struck('kill-during-drain', SHAPE, killWhileDraining), isEnd: true },
  struck('kill-during-recovery', SHAPE, killWhileRecovering),
  struck('kill-loop', TWO_ROUTERS, killInALoop),
]

export const CASES: readonly ChaosCase[] = [
  ...KILLS,
  ...PAUSES,
  ...NATS,
  ...PARTITIONS,
  ...TIMES,
  ...CLOCKS,
  ...JOURNALS,
]

/** Those whose name is given or begins with it; throws on a word that fits none. */
export function chooseCases(words: readonly string[]): readonly ChaosCase[] {
  for (const word of words) {
    if (CASES.some(({ name }) => name.startsWith(word))) continue
    throw new Error(`no case ${word}; there are ${CASES.map(({ name }) => name).join(', ')}`)
  }
  if (words.length === 0) return CASES
  return CASES.filter(({ name }) =>
    words.some((word) => name === word || (name.startsWith(word) && !CASES.some((other) => other.name === word))),
  )
}
