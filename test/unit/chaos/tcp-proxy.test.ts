// The proxy that stands for a broken network: nothing is lost while it is well, and each fault is what it says.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { startTcpProxy, type TcpProxy } from '../../chaos/tcp-proxy.js'
import { eventually } from '../../helpers/eventually.js'
import { createRandom } from '../../helpers/random.js'

describe('the proxy of a broken network', () => {
  let echo: Server
  let proxy: TcpProxy
  const accepted = new Set<Socket>()
  const opened = new Set<Socket>()

  beforeEach(async () => {
    echo = createServer((socket) => {
      accepted.add(socket)
      socket.on('data', (data) => socket.write(data))
      socket.on('error', () => undefined)
      socket.on('close', () => accepted.delete(socket))
    })
    echo.listen(0, '127.0.0.1')
    await once(echo, 'listening')
    const { port } = echo.address() as AddressInfo // a TCP server's address is one
    proxy = await startTcpProxy({ target: { host: '127.0.0.1', port }, random: createRandom(1) })
  })
  afterEach(async () => {
    for (const socket of opened) socket.destroy()
    opened.clear()
    await proxy.close()
    for (const socket of accepted) socket.destroy()
    echo.close()
    await once(echo, 'close')
  })

  async function open(): Promise<{ readonly socket: Socket; readonly received: () => string }> {
    const socket = connect({ host: '127.0.0.1', port: proxy.port })
    opened.add(socket)
    let text = ''
    socket.on('data', (data) => (text += data.toString()))
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return { socket, received: () => text }
  }

  it('passes everything in order, also after delays that differ', async () => {
    const { socket, received } = await open()
    let sent = ''
    const send = (words: string): void => {
      sent += words
      socket.write(words)
    }
    for (let i = 0; i < 50; i++) send(`${i} `)
    proxy.inject({ kind: 'delay', ms: 20, jitterMs: 20 })
    for (let i = 0; i < 50; i++) {
      send(`${i} late `)
      await new Promise((resolve) => setImmediate(resolve)) // pieces of their own
    }
    proxy.heal()
    send('end')
    await eventually(() => received().endsWith('end'), 'the end is here')
    assert.equal(received(), sent)
  })

  it('holds a rate', async () => {
    const { socket, received } = await open()
    proxy.inject({ kind: 'slow', bytesPerSecond: 100_000 })
    const startMs = performance.now()
    socket.write('a'.repeat(20_000))
    await eventually(() => received().length === 20_000, 'all is here')
    assert.ok(performance.now() - startMs >= 190, `${performance.now() - startMs} ms`)
  })

  it('leaves unread what the server sends, and delivers it when it heals', async () => {
    const { socket, received } = await open()
    proxy.inject({ kind: 'unread' })
    socket.write('a'.repeat(1000))
    const other = await open()
    other.socket.write('b')
    await eventually(
      () => accepted.size === 2 && [...accepted].every(({ bytesWritten }) => bytesWritten > 0),
      'both are answered',
    )
    assert.deepEqual([received(), other.received()], ['', ''])
    proxy.heal()
    await eventually(() => received().length === 1000 && other.received() === 'b', 'all is here')
  })

  for (const fault of [
    { kind: 'blackhole' },
    { kind: 'half-open', lost: 'up' },
    { kind: 'half-open', lost: 'down' },
  ] as const) {
    it(`${JSON.stringify(fault)}: what it swallows never comes, and the connection ends when it heals`, async () => {
      const { socket, received } = await open()
      socket.write('before')
      await eventually(() => received() === 'before', 'it works before')
      proxy.inject(fault)
      socket.write('lost')
      const other = await open()
      other.socket.write('x')
      await new Promise((resolve) => setTimeout(resolve, 50))
      proxy.heal()
      await once(socket, 'close')
      assert.equal(received(), 'before')
      const next = await open()
      next.socket.write('after')
      await eventually(() => next.received() === 'after', 'a new connection works')
    })
  }

  it('cut: connections end and new ones are refused', async () => {
    const { socket } = await open()
    proxy.inject({ kind: 'cut' })
    await once(socket, 'close')
    const refused = await open()
    await once(refused.socket, 'close')
    assert.equal(proxy.numConnections, 0)
  })

  it('duplicate: the server keeps the connection that its client has lost', async () => {
    const { socket } = await open()
    await eventually(() => accepted.size === 1, 'the server has it')
    proxy.inject({ kind: 'duplicate' })
    await once(socket, 'close')
    const { socket: second, received } = await open()
    second.write('again')
    await eventually(() => received() === 'again', 'the second works')
    assert.equal(accepted.size, 2)
    proxy.heal()
    await eventually(() => accepted.size === 1, 'the first is gone')
  })
})
