import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { waitReady } from '../../../cli/cluster/wait-ready.js'
import type { ClusterError } from '../../../lib/errors.js'

describe('waitReady', () => {
  const serve = async (statusOf: (numAsked: number) => number) => {
    let numAsked = 0
    const server = createServer((_, response) => response.writeHead(statusOf((numAsked += 1))).end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // a TCP server has a port
    return { url: `http://127.0.0.1:${port}`, close: () => (server.closeAllConnections(), server.close()) }
  }

  it('asks until the router can serve', async () => {
    const { url, close } = await serve((numAsked) => (numAsked < 3 ? 503 : 200))
    await waitReady([url], { timeoutMs: 10_000, signal: new AbortController().signal })
    close()
  })

  it('names the router that is never ready, and what it said', async () => {
    const { url, close } = await serve(() => 503)
    const waiting = waitReady([url], { timeoutMs: 30, signal: new AbortController().signal })
    await assert.rejects(
      waiting,
      (error: ClusterError) =>
        error.code === 'deadline_exceeded' && error.message.includes(`${url}/ready`) && error.message.includes('503'),
    )
    close()
  })

  it('ends when the start is interrupted', async () => {
    const waiting = waitReady(['http://127.0.0.1:9'], { timeoutMs: 10_000, signal: AbortSignal.abort() })
    await assert.rejects(waiting, (error: ClusterError) => error.code === 'cancelled')
  })
})
