import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTracing, type TracingOptions } from '../../lib/tracing/tracing.js'

const OPTIONS: TracingOptions = {
  serviceName: 'banyan',
  instanceId: 'attention-0',
  version: '1.2.3',
  sampler: 'parentbased_always_on',
  samplerArg: 1,
}

describe('tracing to a collector', () => {
  let server: Server
  const paths: string[] = []
  let answers = true
  before(async () => {
    server = createServer((request, response) => {
      paths.push(request.url ?? '')
      request.resume()
      if (answers) request.on('end', () => response.writeHead(200).end())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  const endpoint = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/` // a TCP server has a port

  it('sends protobuf to /v1/traces', async () => {
    const { tracer, shutdown } = await createTracing({ ...OPTIONS, endpoint: endpoint() })
    tracer.startSpan('request').end()
    await shutdown(5_000)
    assert.deepEqual(paths, ['/v1/traces'])
  })

  it('does not wait beyond the bound for one that does not answer', async () => {
    answers = false
    const { tracer, shutdown } = await createTracing({ ...OPTIONS, endpoint: endpoint() })
    tracer.startSpan('request').end()
    const startedMs = performance.now()
    await shutdown(50)
    assert.ok(performance.now() - startedMs < 2_000)
  })
})
