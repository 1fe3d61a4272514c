// The configuration of `deploy/k8s/base/nats` on three real servers, TLS between everything: a cluster serves with every
// service under its role's own user, and each user may do what the table below says, nothing more and nothing less.
// `deploy/nats/banyan.conf`, for one server, has the same accounts.

import assert from 'node:assert/strict'
import { connect, type NatsConnection } from 'nats'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { startCli, upCli, type RunningCli } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import { startConfiguredNats } from '../helpers/nats-config.js'
import { startNatsPods, type NatsPods } from '../helpers/nats-pods.js'
import { restore, snapshot } from '../helpers/nats-snapshot.js'
import { repositoryRoot } from '../helpers/paths.js'

const ROLES = ['router', 'attention', 'expert-worker', 'drafter'] as const
const USERS = [...ROLES, 'up'] as const
type User = (typeof USERS)[number]

const JOURNAL = 'banyan-main-requests'

const passwordOf = (user: User): string => `pw-of-${user}`
const passwords = Object.fromEntries(
  USERS.map((user) => [`BANYAN_NATS_${user.toUpperCase().replace('-', '_')}_PASSWORD`, passwordOf(user)]),
)

const main = (rest: string): string => `banyan.v1.main.${rest}`

/** Who may; everybody else may not. */
const PUBLISH: Readonly<Record<string, readonly User[]>> = {
  [main('health')]: USERS,
  [main('obituaries')]: USERS,
  [main('actor.router.router-0')]: ['router', 'up'],
  [main('actor.router.router-0.ping')]: ['router', 'expert-worker', 'up'],
  [main('actor.router.router-0.requests')]: ['router', 'up'], // other people's tokens
  [main('actor.router.router-0.link')]: ['router', 'up'],
  [main('actor.attention.attention-0')]: ['router', 'up'],
  [main('actor.attention.attention-0.control')]: ['router', 'up'],
  [main('actor.attention.attention-0.link')]: ['router', 'up'],
  [main('actor.expert-worker.expert-worker-0')]: ['router', 'attention', 'expert-worker', 'up'],
  [main('actor.drafter.drafter-0')]: ['router', 'up'],
  [main('actor.client.up')]: ['router', 'up'],
  [main('journal.request')]: ['router', 'up'],
  'banyan.v1.other.actor.router.router-0': [],
  '_INBOX.router.stolen.1': ['up'],
  '_INBOX.attention.stolen.1': ['up'],
  '$JS.API.STREAM.NAMES': ['router', 'up'],
  '$JS.SNAPSHOT.RESTORE.banyan-main-requests.x': ['up'],
  '$JS.SNAPSHOT.ACK.banyan-main-requests.x': ['up'],
  '$SYS.REQ.SERVER.PING': [],
  anything: [],
}

const SUBSCRIBE: Readonly<Record<string, readonly User[]>> = {
  [main('health')]: ['router', 'attention', 'expert-worker', 'up'],
  [main('obituaries')]: ['router', 'attention', 'expert-worker', 'up'],
  [main('actor.router.router-0')]: ['router', 'up'],
  [main('actor.attention.attention-0')]: ['attention', 'up'],
  [main('actor.expert-worker.expert-worker-0')]: ['expert-worker', 'up'],
  [main('actor.drafter.drafter-0')]: ['drafter', 'up'],
  [main('actor.client.up')]: ['up'],
  [main('actor.>')]: ['up'],
  [main('journal.>')]: ['up'],
  '_INBOX.router.x.*': ['router', 'up'],
  '_INBOX.attention.x.*': ['attention', 'up'],
  '_INBOX.expert-worker.x.*': ['expert-worker', 'up'],
  '_INBOX.drafter.x.*': ['drafter', 'up'],
  '_INBOX.>': ['up'],
  '$SRV.PING': USERS,
  '$JS.API.>': [],
  '$SYS.>': [],
  '>': [],
}

describe('the configuration of NATS servers', function () {
  this.timeout(60_000)
  let nats: NatsPods
  before(async () => {
    nats = await startNatsPods(passwords)
  })
  after(() => nats.stop())

  /** What a pod of the role is given. */
  const loginOf = (user: User): Record<string, string> => ({
    NATS_URL: nats.url,
    NATS_USER: user,
    NATS_PASSWORD: passwordOf(user),
    BANYAN_NATS_TLS_CA: nats.ca,
  })
  const connectAs = (user: User): Promise<NatsConnection> =>
    connect({
      servers: nats.pods[0]?.address ?? '',
      user,
      pass: passwordOf(user),
      inboxPrefix: `_INBOX.${user}`,
      tls: { caFile: nats.ca },
      noAsyncTraces: true,
    })
  const complete = async (url: string): Promise<string> => {
    const body = JSON.stringify({ prompt: 'export interface ', max_tokens: 8, seed: 7 })
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', body })
    assert.equal(response.status, 200)
    const { choices } = (await response.json()) as { choices: { text: string }[] } // OpenAI's shape
    return choices[0]?.text ?? ''
  }

  it('lets a cluster serve, each service under its own role, and refuses nothing of what they do', async () => {
    const [port = 0] = await freePorts(1)
    const serve = (role: (typeof ROLES)[number], words: readonly string[] = []): RunningCli => {
      const env = {
        ...loginOf(role),
        BANYAN_ID: `${role}-0`,
        BANYAN_LINK_HOST: 'off',
        BANYAN_JOURNAL_REPLICAS: '3',
        LOG_LEVEL: 'info',
      }
      return startCli(['serve', role, '--experts', '1', '--threads', '1', ...words], { env })
    }
    const running = [
      serve('router', ['--http', String(port), '--grpc', '0']),
      ...ROLES.slice(1).map((role) => serve(role)),
    ]
    try {
      const url = `http://127.0.0.1:${port}`
      const isReady = async (): Promise<boolean> =>
        (await fetch(`${url}/ready`).catch(() => undefined))?.status === 200 ||
        running.some(({ child }) => child.exitCode)
      await eventually(isReady, 'the cluster is ready', 50_000)
      assert.ok((await complete(url)).length > 0)
    } finally {
      for (const { child } of running) child.kill('SIGTERM')
    }
    const admin = await connectAs('router')
    const stream = await (await admin.jetstreamManager()).streams.info(JOURNAL)
    await admin.close()
    assert.equal(stream.config.num_replicas, 3)
    for (const { outcome } of running) {
      const { code, stderr } = await outcome
      assert.equal(code, 0, stderr)
      assert.doesNotMatch(stderr, /does not permit|pw-of/)
    }
  })

  it('lets `up` back the journal up and restore it', async () => {
    const up = await connectAs('up')
    try {
      const { streams } = await up.jetstreamManager()
      const { config, state } = await streams.info(JOURNAL)
      assert.ok(state.messages > 0)
      const backup = await snapshot(up, JOURNAL)
      await streams.delete(JOURNAL)
      await restore(up, { config, state }, backup)
      assert.equal((await streams.info(JOURNAL)).state.messages, state.messages)
    } finally {
      await up.close()
    }
  })

  it('answers the probes of its pods', async () => {
    for (const { monitor } of nats.pods)
      for (const query of ['', '?js-server-only=true', '?js-enabled-only=true'])
        await eventually(async () => (await fetch(`${monitor}/healthz${query}`)).status === 200, `${query} is answered`)
  })

  it('lets nobody in without TLS, or without a password', async () => {
    const [pod] = nats.pods
    assert.ok(pod)
    const tls = { caFile: nats.ca }
    await assert.rejects(connect({ servers: pod.address, user: 'router', pass: 'wrong', tls }), /Authorization/)
    await assert.rejects(connect({ servers: pod.address, tls }), /Authorization/)
    const socket = connectSocket({ host: '127.0.0.1', port: Number(pod.address.split(':')[1]) })
    let heard = ''
    socket.on('data', (data) => (heard += data.toString()))
    socket.on('error', () => undefined)
    socket.write(`CONNECT {"user":"router","pass":"${passwordOf('router')}","verbose":true}\r\nPING\r\n`)
    await new Promise((resolve) => socket.once('close', resolve))
    assert.match(heard, /^INFO /)
    assert.doesNotMatch(heard, /PONG|\+OK/)
  })

  it('is the same for one server alone', async () => {
    const single = await startConfiguredNats(join(repositoryRoot, 'deploy', 'nats', 'banyan.conf'), passwords)
    const user = 'drafter'
    const drafter = await connect({ servers: single.address, user, pass: passwordOf(user), noAsyncTraces: true })
    try {
      let refusals = 0
      void (async () => {
        for await (const { permissionContext } of drafter.status()) if (permissionContext !== undefined) refusals += 1
      })()
      drafter.publish(main('health'))
      drafter.publish(main('actor.attention.attention-0'))
      await eventually(() => refusals === 1, 'one refusal', 5_000)
    } finally {
      await drafter.close()
      await single.stop()
    }
  })

  it('lets `up` run a whole cluster under one user, whose password it does not show', async () => {
    const cluster = await upCli(['--transport', 'nats', '--experts', '1'], { env: loginOf('up') })
    try {
      assert.ok((await complete(cluster.ready.http)).length > 0)
      assert.equal(cluster.ready.nats, nats.url)
    } finally {
      const { stdout, stderr } = await cluster.end()
      assert.doesNotMatch(`${stdout}${stderr}`, /does not permit|pw-of/)
    }
  })

  for (const user of USERS) {
    describe(`lets ${user}`, () => {
      let connection: NatsConnection
      const refused = new Set<string>()
      before(async () => {
        connection = await connectAs(user)
        void (async () => {
          for await (const { permissionContext: refusal } of connection.status())
            if (refusal !== undefined) refused.add(`${refusal.operation} ${refusal.subject}`)
        })()
      })
      after(() => connection.close())

      /** The server answers in order: what it refuses of an act is said before it answers a request that comes after. */
      async function check(operation: string, table: typeof PUBLISH, act: (subject: string) => void): Promise<void> {
        refused.clear()
        const subjects = Object.keys(table)
        for (const subject of subjects) act(subject)
        await connection.flush()
        const wanted = subjects.filter((subject) => table[subject]?.includes(user) !== true)
        await eventually(() => refused.size >= wanted.length, `${wanted.length} refusals`, 5_000)
        assert.deepEqual([...refused].sort(), wanted.map((subject) => `${operation} ${subject}`).sort())
      }

      it('publish what is its own and nothing else', () =>
        check('publish', PUBLISH, (subject) => connection.publish(subject)))

      it('subscribe to what is its own and nothing else', () =>
        check(
          'subscription',
          SUBSCRIBE,
          (subject) => void connection.subscribe(subject, { callback: () => undefined }),
        ))
    })
  }

  it('lets a worker answer where it was asked from, and only there', async () => {
    const [router, worker] = [await connectAs('router'), await connectAs('attention')]
    worker.subscribe(main('actor.attention.attention-9'), { callback: (_, message) => void message.respond('yes') })
    await worker.flush()
    assert.equal(
      (await router.request(main('actor.attention.attention-9'), 'well?', { timeout: 5_000 })).string(),
      'yes',
    )
    await router.close()
    await worker.close()
  })
})
