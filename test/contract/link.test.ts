// Direct links (L1 to L3 of `linked-bus.ts`, D1, S1): used once they stand, never trusted without the key, never missed
// when they end.

import assert from 'node:assert/strict'
import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectClient } from 'nats'
import { ClusterError } from '../../lib/errors.js'
import { createLinkReader, writeMessage, type LinkMessage } from '../../lib/transport/link-stream.js'
import { connectNats } from '../../lib/transport/nats.js'
import type { Transport } from '../../lib/transport/transport.js'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'

const text = (value: string): Uint8Array => Buffer.from(value)
const read = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

const hello = (key: string): LinkMessage => ({ kind: 'hello', subject: '', reply: '', payload: text(key) })

describe('direct links', function () {
  this.timeout(20_000)
  let nats: TestNats
  let alice: Transport
  let bob: Transport

  const open = (name: string): Promise<Transport> =>
    connectNats({ url: nats.url, name, link: { host: '127.0.0.1', port: 0 } })
  beforeEach(async () => {
    nats = await startNatsForTest()
    alice = await open('alice')
    bob = await open('bob')
    bob.subscribe('box', ({ payload, reply }) => reply?.(text(`${read(payload)}!`)))
    await bob.flush()
  })
  afterEach(async () => {
    await alice.close()
    await bob.close()
    await nats.stop()
  })

  const ask = async (word: string): Promise<string> => read(await alice.request('box', text(word), { timeoutMs: 2000 }))

  /** Asks until a message no longer shows on the server. */
  async function untilLinked(): Promise<void> {
    const observer = await connectClient({ servers: nats.url })
    let numSeen = 0
    observer.subscribe('box', { callback: () => void (numSeen += 1) })
    await observer.flush()
    await eventually(async () => {
      const before = numSeen
      await ask('where?')
      await observer.flush()
      return numSeen === before
    }, 'the link stands')
    assert.ok(numSeen > 0, 'the first message goes over the server')
    await observer.close()
  }

  async function doorOf(mailbox: string): Promise<{ host: string; port: number; key: string }> {
    const client = await connectClient({ servers: nats.url })
    const answer = await client.request(`${mailbox}.link`, new Uint8Array(0), { timeout: 2000 })
    await client.close()
    return JSON.parse(answer.string()) as { host: string; port: number; key: string } // see docs/wire-protocol.md
  }

  it('answer without the server once they stand', async () => {
    await untilLinked()
    await nats.stop()
    for (const word of ['a', 'b', 'c']) assert.equal(await ask(word), `${word}!`)
  })

  it('carry what is larger than the server takes, both ways', async () => {
    bob.subscribe('echo', ({ payload, reply }) => reply?.(payload))
    await bob.flush()
    const large = new Uint8Array(5_000_000).map((_, i) => (i * 31) & 255)
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(Buffer.from(await alice.request('echo', large, { timeoutMs: 5000 })), Buffer.from(large))
    }
  })

  it('fail what was asked over them when they end, at once, and leave the rest to the bus', async () => {
    bob.subscribe('silent', () => undefined)
    await bob.flush()
    await untilLinked()
    await assert.rejects(alice.request('silent', text(''), { timeoutMs: 50 }))
    await ask('hello')
    const pending = alice.request('box', text('last'), { timeoutMs: 60_000 }).catch((error: unknown) => error)
    await bob.close()
    const outcome = await pending
    if (outcome instanceof ClusterError) assert.equal(outcome.code, 'unavailable')
    await assert.rejects(
      alice.request('box', text(''), { timeoutMs: 60_000 }),
      (error: unknown) => error instanceof ClusterError && error.details.reason === 'NO_RESPONDERS',
    )
  })

  it('say at once that nobody listens to a mailbox any more', async () => {
    const box = bob.subscribe('short', ({ reply }) => reply?.(text('here')))
    await bob.flush()
    await alice.request('short', text(''), { timeoutMs: 2000 })
    await untilLinked()
    box.unsubscribe()
    await bob.flush()
    await assert.rejects(
      alice.request('short', text(''), { timeoutMs: 60_000 }),
      (error: unknown) => error instanceof ClusterError && error.details.reason === 'NO_RESPONDERS',
    )
  })

  it('answer over the bus what came over the bus, and find their way again after a silent link (frozen peer)', async () => {
    let isFrozen = false
    bob.subscribe('moody', ({ reply }) => isFrozen || reply?.(text('yes')))
    await bob.flush()
    await alice.request('moody', text(''), { timeoutMs: 2000 })
    await untilLinked()
    isFrozen = true
    await assert.rejects(alice.request('moody', text(''), { timeoutMs: 50 }), /no reply within 50 ms/)
    isFrozen = false
    assert.equal(read(await alice.request('moody', text(''), { timeoutMs: 2000 })), 'yes')
  })

  it('answer over a link what came over it, whatever is asked over the bus meanwhile', async () => {
    let answerSlow = (): void => undefined
    bob.subscribe('slow', ({ payload, reply }) => {
      answerSlow = () => reply?.(text('at last'))
      if (read(payload) !== 'wait') answerSlow()
    })
    bob.subscribe('other', ({ reply }) => reply?.(text('yes')))
    await bob.flush()
    const observer = await connectClient({ servers: nats.url })
    const seen: string[] = []
    observer.subscribe('>', { callback: (_, message) => void seen.push(`${message.subject} ${message.string()}`) })
    await observer.flush()
    const goesByLink = async (): Promise<boolean> => {
      const before = seen.length
      await alice.request('slow', text(''), { timeoutMs: 2000 })
      await observer.flush()
      return seen.length === before
    }
    await eventually(goesByLink, 'the link stands')
    const numSeen = seen.length
    const slow = alice.request('slow', text('wait'), { timeoutMs: 20_000 })
    assert.equal(read(await alice.request('other', text(''), { timeoutMs: 2000 })), 'yes')
    await observer.flush()
    assert.ok(seen.some((words) => words.startsWith('other ')))
    answerSlow()
    assert.equal(read(await slow), 'at last')
    await observer.flush()
    // A server lets a worker answer what it has brought, and nothing else.
    assert.ok(!seen.slice(numSeen).some((words) => words.endsWith(' at last')))
    await observer.close()
  })

  it('do not pile up where a peer is silent again and again: one that is not trusted any more ends (L4)', async () => {
    let isFrozen = false
    bob.subscribe('moody', ({ reply }) => isFrozen || reply?.(text('yes')))
    await bob.flush()
    const numSockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
    const ask = (): Promise<unknown> => alice.request('moody', text(''), { timeoutMs: isFrozen ? 30 : 2000 })
    const unlinked = numSockets()
    for (let round = 0; round < 3; round++) {
      isFrozen = false
      const stands = async (): Promise<boolean> => (await ask(), numSockets() === unlinked + 2) // its two ends are here
      await eventually(stands, 'a link stands', 5_000)
      isFrozen = true
      await assert.rejects(ask())
      await eventually(() => numSockets() === unlinked, 'it ends', 5_000)
    }
  })

  it('stay known when one that was given up ends after they took its place: none is left open (L4)', async () => {
    const numSockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
    let isFrozen = false
    let isSlow = false
    let answerSlow = (): void => undefined
    bob.subscribe('moody', ({ reply }) => isFrozen || reply?.(text('yes')))
    bob.subscribe('slow', ({ reply }) => {
      answerSlow = () => reply?.(text('at last'))
      if (!isSlow) answerSlow()
    })
    await bob.flush()
    const unlinked = numSockets()
    const warm = async (): Promise<void> => {
      for (const name of ['moody', 'slow']) await alice.request(name, text(''), { timeoutMs: 2000 })
    }
    await eventually(async () => (await warm(), numSockets() === unlinked + 2), 'a link stands', 5_000)
    await untilLinked()
    isSlow = true
    const slow = alice.request('slow', text(''), { timeoutMs: 20_000 })
    isFrozen = true
    await assert.rejects(alice.request('moody', text(''), { timeoutMs: 30 }), /no reply/)
    isFrozen = false
    await eventually(async () => (await ask('more'), numSockets() === unlinked + 4), 'a second one beside it', 5_000)
    answerSlow()
    assert.equal(read(await slow), 'at last')
    await eventually(() => numSockets() === unlinked + 2, 'the first one ends', 5_000)
    await alice.close()
    await eventually(() => numSockets() === unlinked - 1, 'none stands, nor the way to the server', 5_000)
  })

  it('keep a process reachable when somebody knocks without wanting an answer', async () => {
    const client = await connectClient({ servers: nats.url })
    client.publish('box.link', text('x'))
    await client.flush()
    await client.close()
    assert.equal(await ask('still there'), 'still there!')
  })

  it('draw nothing but answers to a peer: a reply subject that is no inbox is not one (W1)', async () => {
    const { host, port, key } = await doorOf('box')
    const socket = connectSocket({ host, port })
    const stolen: string[] = []
    const accept = createLinkReader({ maxBytes: 4000 }, ({ subject }) => stolen.push(subject))
    socket.on('data', accept)
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    writeMessage(socket, hello(key))
    writeMessage(socket, { kind: 'message', subject: 'box', reply: 'health.x', payload: text('') })
    const heard: string[] = []
    alice.subscribe('health.beat', ({ payload }) => heard.push(read(payload)))
    await alice.flush()
    await eventually(() => {
      bob.publish('health.beat', text('beat'))
      return heard.length > 0
    }, 'the beat goes over the bus')
    assert.ok(!stolen.includes('health.beat'))
    socket.destroy()
  })

  it('are taken at the port that was asked for, or the start fails', async () => {
    const [port = 0] = await freePorts(1)
    const link = { host: '127.0.0.1', port }
    const carol = await connectNats({ url: nats.url, name: 'carol', link })
    try {
      carol.subscribe('desk', () => undefined)
      await carol.flush()
      assert.equal((await doorOf('desk')).port, port)
      await assert.rejects(connectNats({ url: nats.url, name: 'eve', link }), new RegExp(`port ${port}: .*EADDRINUSE`))
    } finally {
      await carol.close()
    }
  })

  for (const [host, words] of [
    ['0.0.0.0', /link host: want an address that others can reach/],
    ['192.0.2.1', /link host 192.0.2.1, port 0: /],
  ] as const) {
    it(`refuse ${host} to listen at, and leave no connection behind`, async () => {
      await assert.rejects(connectNats({ url: nats.url, name: 'eve', link: { host, port: 0 } }), words)
    })
  }

  describe('the door', () => {
    /** Connects like a stranger; resolves when the door closes the connection. */
    async function knock(speak: (socket: Socket, key: string) => void): Promise<void> {
      const { host, port, key } = await doorOf('box')
      const socket = connectSocket({ host, port })
      socket.on('error', () => undefined)
      await new Promise<void>((resolve) => {
        socket.on('close', () => resolve())
        socket.on('connect', () => speak(socket, key))
        socket.resume()
      })
    }
    const call: LinkMessage = { kind: 'message', subject: 'box', reply: '_INBOX.x.1', payload: text('who') }

    const strangers: Readonly<Record<string, (socket: Socket, key: string) => void>> = {
      'a wrong key': (socket) => writeMessage(socket, hello('0'.repeat(48))),
      'no key': (socket) => writeMessage(socket, call),
      'a long hello': (socket, key) => writeMessage(socket, { ...hello(key), payload: new Uint8Array(10_000) }),
      silence: () => undefined,
      'a broken header': (socket, key) => {
        writeMessage(socket, hello(key))
        socket.write(Buffer.from([5, 0, 0, 0, 9, 255, 255, 255, 255]))
      },
      'a length beyond all bounds': (socket, key) => {
        writeMessage(socket, hello(key))
        socket.write(Buffer.from([255, 255, 255, 255]))
      },
    }
    for (const [title, speak] of Object.entries(strangers)) {
      it(`closes on ${title}, and the others are served`, async () => {
        await knock(speak)
        assert.equal(await ask('still there'), 'still there!')
      })
    }
  })
})

describe('link stream', () => {
  it('puts messages together from any pieces', () => {
    const bytes: Buffer[] = []
    const socket = {
      cork: () => undefined,
      uncork: () => undefined,
      write: (part: Uint8Array) => bytes.push(Buffer.from(part)),
    }
    const messages: LinkMessage[] = ['one', '', 'x'.repeat(3000)].map((word, i) => ({
      kind: i === 1 ? 'nobody' : 'message',
      subject: `subject.${word.length}`,
      reply: i === 0 ? 'reply' : '',
      payload: text(word),
    }))
    for (const message of messages) writeMessage(socket as unknown as Socket, message) // what it uses of a socket
    const stream = Buffer.concat(bytes)
    for (const size of [1, 2, 3, 7, 64, 10_000]) {
      const seen: LinkMessage[] = []
      const accept = createLinkReader({ maxBytes: 4000 }, ({ isShared: _, ...message }) =>
        seen.push({ ...message, payload: Buffer.from(message.payload) }),
      )
      for (let at = 0; at < stream.length; at += size) accept(stream.subarray(at, at + size))
      assert.deepEqual(
        seen.map((message) => ({ ...message, payload: read(message.payload) })),
        messages.map((message) => ({ ...message, payload: read(message.payload) })),
      )
    }
  })

  it('refuses a message that is too long or too short before making room (S1)', () => {
    for (const length of [0, 4, 4001, 0xffffffff]) {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(length)
      assert.throws(
        () => createLinkReader({ maxBytes: 4000 }, () => undefined)(bytes),
        /want messages of 5 to 4000 bytes/,
      )
    }
  })
})
