// T1 to T5 of `lib/transport/transport.ts`, over every transport.

import assert from 'node:assert/strict'
import { connect, type NatsConnection } from 'nats'
import { ClusterError, type ErrorCode } from '../../lib/errors.js'
import { createLocalHub, createLocalTransport } from '../../lib/transport/local.js'
import { connectNats } from '../../lib/transport/nats.js'
import type { Transport } from '../../lib/transport/transport.js'
import { startTcpProxy } from '../chaos/tcp-proxy.js'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'

const FLOOD = 64 // messages of a megabyte: more than a server and the kernel keep for a client

const text = (value: string): Uint8Array => Buffer.from(value)
const read = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const hasCode = (code: ErrorCode) => (error: unknown) => error instanceof ClusterError && error.code === code

for (const kind of ['local', 'nats', 'nats with links'] as const) {
  describe(`transport ${kind}`, function () {
    this.timeout(20_000)
    let nats: TestNats | undefined
    let alice: Transport
    let bob: Transport
    let numSubjects = 0
    const fresh = (): string => `test.${(numSubjects += 1)}`

    before(async () => {
      if (kind !== 'local') nats = await startNatsForTest()
      const hub = createLocalHub()
      const open = async (name: string): Promise<Transport> =>
        nats === undefined
          ? createLocalTransport({ hub, maxPayloadBytes: 64 * 1024, maxMessageBytes: 32 * 1024 * 1024 })
          : await connectNats({
              url: nats.url,
              name,
              maxMessageBytes: 32 * 1024 * 1024,
              link: kind === 'nats' ? undefined : { host: '127.0.0.1', port: 0 },
            })
      alice = await open('alice')
      bob = await open('bob')
    })
    after(async () => {
      await alice.close()
      await bob.close()
      await nats?.stop()
    })

    /** Bob serves; resolves once the bus knows of it. */
    const serve = async (subject: string, handler: (request: string) => string | undefined, queue?: string) => {
      const subscription = bob.subscribe(
        subject,
        ({ payload, reply }) => {
          const answer = handler(read(payload))
          if (answer !== undefined) reply?.(text(answer))
        },
        queue === undefined ? {} : { queue },
      )
      await bob.flush()
      return subscription
    }

    it('answers a request', async () => {
      const subject = fresh()
      await serve(subject, (request) => `${request}!`)
      assert.equal(read(await alice.request(subject, text('hello'), { timeoutMs: 2000 })), 'hello!')
    })

    it('delivers in order', async () => {
      const subject = fresh()
      const seen: string[] = []
      await serve(subject, (request) => void seen.push(request))
      const sent = Array.from({ length: 500 }, (_, i) => String(i))
      for (const value of sent) alice.publish(subject, text(value))
      await eventually(() => seen.length === sent.length, 'all arrived')
      assert.deepEqual(seen, sent)
    })

    it('delivers what was sent, also when the sender reuses its buffer', async () => {
      const subject = fresh()
      const seen: string[] = []
      await serve(subject, (request) => void seen.push(request))
      const buffer = Buffer.from('first')
      alice.publish(subject, buffer)
      if (kind === 'local') buffer.write('xxxxx')
      await eventually(() => seen.length === 1, 'it arrived')
      assert.deepEqual(seen, ['first'])
    })

    it('matches wildcards', async () => {
      const subject = fresh()
      const seen: string[] = []
      bob.subscribe(`${subject}.*.end`, ({ subject: at }) => void seen.push(at))
      bob.subscribe(`${subject}.>`, ({ subject: at }) => void seen.push(at))
      await bob.flush()
      for (const suffix of ['a.end', 'a.b.end', 'a']) alice.publish(`${subject}.${suffix}`, text(''))
      await eventually(() => seen.length === 4, 'four deliveries')
      assert.deepEqual(seen.filter((at) => at === `${subject}.a.end`).length, 2)
    })

    it('gives each message to one member of a queue group', async () => {
      const subject = fresh()
      const counts = [0, 0]
      const count = (member: number) => (): undefined => void (counts[member] = (counts[member] ?? 0) + 1)
      await serve(subject, count(0), 'workers')
      await serve(subject, count(1), 'workers')
      for (let i = 0; i < 100; i++) alice.publish(subject, text('x'))
      await eventually(() => (counts[0] ?? 0) + (counts[1] ?? 0) === 100, 'all arrived')
      assert.ok(
        counts.every((value) => value > 0),
        `spread ${counts.join(' and ')}`,
      )
    })

    it('says at once that nobody answers', async () => {
      const started = Date.now()
      await assert.rejects(alice.request(fresh(), text('x'), { timeoutMs: 15_000 }), hasCode('unavailable'))
      assert.ok(Date.now() - started < 5_000)
    })

    it('ends a request at its deadline', async () => {
      const subject = fresh()
      await serve(subject, () => undefined)
      await assert.rejects(alice.request(subject, text('x'), { timeoutMs: 50 }), hasCode('deadline_exceeded'))
    })

    it('ends a request when its signal aborts', async () => {
      const subject = fresh()
      await serve(subject, () => undefined)
      const abort = new AbortController()
      const pending = alice.request(subject, text('x'), { timeoutMs: 15_000, signal: abort.signal })
      abort.abort()
      await assert.rejects(pending, hasCode('cancelled'))
    })

    it('carries messages above the payload limit, in both directions', async () => {
      const subject = fresh()
      bob.subscribe(subject, ({ payload, reply }) => reply?.(payload))
      await bob.flush()
      const large = Buffer.alloc(20 * 1024 * 1024 + 7, 'abcdefg')
      assert.ok(large.equals(await alice.request(subject, large, { timeoutMs: 15_000 })))
    })

    it('carries any first byte', async () => {
      const subject = fresh()
      bob.subscribe(subject, ({ payload, reply }) => reply?.(payload))
      await bob.flush()
      const odd = Uint8Array.of(0xc1, 1, 2, 3)
      assert.deepEqual(Uint8Array.from(await alice.request(subject, odd, { timeoutMs: 2000 })), odd)
    })

    it('refuses a message above its own limit before sending', () => {
      assert.throws(() => alice.publish(fresh(), new Uint8Array(33 * 1024 * 1024)), hasCode('invalid_argument'))
    })

    it('survives a handler that throws', async () => {
      const subject = fresh()
      await serve(subject, (request) => {
        if (request === 'bad') throw new Error('handler')
        return 'ok'
      })
      alice.publish(subject, text('bad'))
      assert.equal(read(await alice.request(subject, text('good'), { timeoutMs: 2000 })), 'ok')
    })

    it('keeps many requests apart', async () => {
      const subject = fresh()
      await serve(subject, (request) => request)
      const answers = Array.from({ length: 1000 }, (_, i) =>
        alice.request(subject, text(String(i)), { timeoutMs: 10_000 }),
      )
      assert.deepEqual(
        (await Promise.all(answers)).map(read),
        Array.from({ length: 1000 }, (_, i) => String(i)),
      )
    })

    it('delivers nothing after unsubscribing', async () => {
      const subject = fresh()
      const subscription = await serve(subject, () => 'here')
      subscription.unsubscribe()
      await bob.flush()
      await assert.rejects(alice.request(subject, text('x'), { timeoutMs: 2000 }), hasCode('unavailable'))
    })

    it('closing ends what is pending', async () => {
      const subject = fresh()
      await serve(subject, () => undefined)
      const extra =
        nats === undefined
          ? createLocalTransport({ hub: createLocalHub() })
          : await connectNats({ url: nats.url, name: 'extra' })
      extra.subscribe(subject, () => undefined)
      await extra.flush()
      const rejected = assert.rejects(extra.request(subject, text('x'), { timeoutMs: 15_000 }), hasCode('unavailable'))
      await extra.close()
      await rejected
    })
  })
}

describe('transport nats, beyond the contract', function () {
  this.timeout(20_000)

  it('keeps its subscriptions over a restart of the server', async () => {
    const first = await startNatsForTest()
    const transport = await connectNats({ url: first.url, name: 'survivor' })
    transport.subscribe('echo', ({ payload, reply }) => reply?.(payload))
    await transport.flush()
    await first.stop()
    const second = await startNatsForTest({ port: Number(new URL(first.url).port) })
    const echo = async (): Promise<boolean> => {
      try {
        return read(await transport.request('echo', text('again'), { timeoutMs: 500 })) === 'again'
      } catch {
        return false
      }
    }
    await eventually(echo, 'it answers again')
    await transport.close()
    await second.stop()
  })

  it('keeps its subscriptions where the server cut it off for reading too slowly', async () => {
    const [monitoring = 0] = await freePorts(1)
    const settings = [`http: "127.0.0.1:${monitoring}"`, 'max_pending: 8MB', 'write_deadline: "300ms"']
    const nats = await startNatsForTest({ settings })
    const proxy = await startTcpProxy({
      target: { host: '127.0.0.1', port: Number(new URL(nats.url).port) },
      random: Math.random,
    })
    const slow = await connectNats({ url: `nats://127.0.0.1:${proxy.port}`, name: 'slow' })
    const other = await connectNats({ url: nats.url, name: 'other' })
    let numHeard = 0
    slow.subscribe('flood', () => void (numHeard += 1))
    slow.subscribe('echo', ({ payload, reply }) => reply?.(payload))
    await slow.flush()
    proxy.inject({ kind: 'unread' })
    const asked = slow.request('nobody.answers', text('?'), { timeoutMs: 15_000 })
    const isLost = assert.rejects(asked, (error) => ClusterError.from(error).details.reason === 'DISCONNECTED')
    for (let i = 0; i < FLOOD; i++) other.publish('flood', new Uint8Array(1024 * 1024))
    const isCutOff = async (): Promise<boolean> => {
      const response = await fetch(`http://127.0.0.1:${monitoring}/varz`)
      return ((await response.json()) as { slow_consumers: number }).slow_consumers > 0 // as the server documents it
    }
    await eventually(isCutOff, 'the server cuts it off')
    proxy.heal()
    await isLost // at once, not at its deadline
    const echo = async (): Promise<boolean> =>
      other.request('echo', text('again'), { timeoutMs: 500 }).then(
        (answer) => read(answer) === 'again',
        () => false,
      )
    await eventually(echo, 'it answers again')
    assert.ok(numHeard < FLOOD, 'some was lost')
    for (const transport of [slow, other]) await transport.close()
    await proxy.close()
    await nats.stop()
  })

  it('shows in the services API', async () => {
    const nats = await startNatsForTest()
    const transport = await connectNats({ url: nats.url, name: 'worker' })
    await transport.advertise({
      name: 'banyan-expert-worker',
      version: '1.0.0',
      description: 'test',
      metadata: { id: 'expert-worker-0' },
      endpoints: [{ name: 'compute', subject: 'banyan.v1.test.actor.expert-worker-0' }],
    })
    const observer: NatsConnection = await connect({ servers: nats.url })
    const found: string[] = []
    for await (const { name, metadata } of await observer.services.client().info())
      found.push(`${name} ${metadata?.id ?? ''}`)
    assert.deepEqual(found, ['banyan-expert-worker expert-worker-0'])
    await observer.close()
    await transport.close()
    await nats.stop()
  })
})
