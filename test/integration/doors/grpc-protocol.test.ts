// What the gRPC door puts on the wire: statuses with details, health, cancels, deadlines, the reader's pace.

import assert from 'node:assert/strict'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { once } from 'node:events'
import { GrpcReflection } from 'grpc-js-reflection-client'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import { hasIpv6 } from '../../helpers/ipv6.js'
import { startGrpcServer, type GrpcServer } from '../../../services/router/grpc-server.js'
import { eventually } from '../../helpers/eventually.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { answer, createScriptedEngine, flood, hang, refuseWith, silent } from './scripted-engine.js'

type Message = Record<string, unknown>

const definition = loadSync('banyan/v1/inference.proto', {
  includeDirs: [join(repositoryRoot, 'proto')],
  longs: String,
  oneofs: true,
})

/** google.rpc.Status by its published numbers, written apart from the server's. */
const rpc = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
`).root

function readDetails(error: grpc.ServiceError): { code: number; message: string; details: Record<string, Message> } {
  const [bytes] = error.metadata.get('grpc-status-details-bin')
  assert.ok(bytes instanceof Buffer)
  const { code, message, details } = rpc.lookupType('Status').decode(bytes).toJSON() as {
    code: number
    message: string
    details: { typeUrl: string; value: string }[]
  } // the fields above
  const named = details.map(({ typeUrl, value }): [string, Message] => {
    const name = typeUrl.replace('type.googleapis.com/google.rpc.', '')
    return [name, rpc.lookupType(name).decode(Buffer.from(value, 'base64')).toJSON()]
  })
  return { code, message, details: Object.fromEntries(named) }
}

describe('the gRPC door’s protocol', () => {
  const engine = createScriptedEngine()
  let door: GrpcServer
  let client: grpc.Client
  before(async () => {
    door = await startGrpcServer({ engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent })
    client = new grpc.Client(door.address, grpc.credentials.createInsecure())
  })
  after(async () => {
    client.close()
    await door.stop(0)
  })
  beforeEach(() => engine.play(answer))

  function method(name: string): grpc.MethodDefinition<Message, Message> {
    const service = definition['banyan.v1.InferenceService']
    assert.ok(service !== undefined && !('format' in service))
    return service[name] as grpc.MethodDefinition<Message, Message> // as loaded from the proto
  }

  function stream(request: Message, { name = 'Generate', ...options }: grpc.CallOptions & { name?: string } = {}) {
    const { path, requestSerialize, responseDeserialize } = method(name)
    return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, options)
  }

  async function failure(request: Message, options?: grpc.CallOptions & { name?: string }): Promise<grpc.ServiceError> {
    try {
      await stream(request, options).toArray()
    } catch (error) {
      return error as grpc.ServiceError // what grpc-js raises
    }
    return assert.fail('the call succeeded')
  }

  it('streams accepted, chunks, finished', async () => {
    const events = (await stream({ text: 'x', sampling: { seed: '18446744073709551615' } }).toArray()) as Message[] // GenerateResponse
    assert.deepEqual(
      events.map(({ event }) => event),
      ['accepted', 'chunk', 'chunk', 'finished'],
    )
    assert.equal(engine.calls[0]?.input.sampling.seed, 2n ** 64n - 1n)
  })

  it('says of a failure: code, reason, domain, metadata', async () => {
    const details = { reason: 'MODEL_NOT_FOUND', model: 'other' }
    engine.play(refuseWith(new ClusterError('not_found', 'model other: this cluster serves demo', { details })))
    const error = await failure({ text: 'x' })
    assert.equal(error.code, grpc.status.NOT_FOUND)
    assert.deepEqual(readDetails(error), {
      code: grpc.status.NOT_FOUND,
      message: 'model other: this cluster serves demo',
      details: {
        ErrorInfo: { reason: 'MODEL_NOT_FOUND', domain: 'banyan.dev', metadata: { model: 'other' } },
      },
    })
  })

  it('says when a retry may help', async () => {
    const details = { reason: 'QUEUE_FULL', retryAfterMs: '1250' }
    engine.play(refuseWith(new ClusterError('resource_exhausted', 'queue: full', { details })))
    const error = await failure({ text: 'x' })
    assert.deepEqual(readDetails(error).details.RetryInfo, { retryDelay: { seconds: '1', nanos: 250_000_000 } })
    assert.deepEqual(error.metadata.get('retry-after-ms'), ['1250'])
    assert.deepEqual(error.metadata.get('grpc-retry-pushback-ms'), ['1250'])
  })

  const codes: readonly [ErrorCode, grpc.status][] = [
    ['invalid_argument', grpc.status.INVALID_ARGUMENT],
    ['already_exists', grpc.status.ALREADY_EXISTS],
    ['failed_precondition', grpc.status.FAILED_PRECONDITION],
    ['unavailable', grpc.status.UNAVAILABLE],
    ['deadline_exceeded', grpc.status.DEADLINE_EXCEEDED],
    ['cancelled', grpc.status.CANCELLED],
    ['internal', grpc.status.INTERNAL],
    ['data_loss', grpc.status.DATA_LOSS],
  ]
  for (const [code, status] of codes) {
    it(`${code} is status ${status}`, async () => {
      engine.play(refuseWith(new ClusterError(code, 'as scripted')))
      assert.equal((await failure({ text: 'x' })).code, status)
    })
  }

  it('a message of any length and script reaches the client, and leaves the connection alone', async () => {
    engine.play(hang)
    const other = stream({ text: 'x' })
    const left = once(other, 'error')
    await once(other, 'data')
    const running = engine.calls[0]
    const model = '🙂'.repeat(60_000)
    engine.play(refuseWith(new ClusterError('not_found', `model ${model}: no`, { details: { model } })))
    const error = await failure({ text: 'x' })
    assert.equal(error.code, grpc.status.NOT_FOUND)
    assert.match(error.details, /^model 🙂/)
    assert.equal(running?.hasEnded, false)
    other.cancel()
    await left
  })

  it('a request without a prompt is refused', async () => {
    const error = await failure({})
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT)
    assert.deepEqual(readDetails(error).details.ErrorInfo?.metadata, { field: 'input' })
  })

  it('Resume gives the engine the tokens held, of so many choices as there can be', async () => {
    engine.play(refuseWith(new ClusterError('not_found', 'request r: not known here')))
    assert.equal((await failure({ requestId: 'r', offsets: [3, 4] }, { name: 'Resume' })).code, grpc.status.NOT_FOUND)
    assert.deepEqual([engine.calls[0]?.input.requestId, engine.calls[0]?.held], ['r', [3, 4]])
    const offsets = Array.from({ length: 65 }, () => 0)
    assert.equal((await failure({ offsets }, { name: 'Resume' })).code, grpc.status.INVALID_ARGUMENT)
  })

  it('a cancel reaches the engine', async () => {
    engine.play(hang)
    const call = stream({ text: 'x' })
    call.on('error', () => undefined) // its own cancel
    call.on('data', () => call.cancel())
    await eventually(() => engine.calls[0]?.hasEnded === true, 'the request is let go')
    assert.equal(engine.calls[0]?.signal.aborted, true)
  })

  it('that drains has clients call on another connection, and ends no call under way', async () => {
    const leaving = await startGrpcServer({ engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent })
    const before = new grpc.Client(leaving.address, grpc.credentials.createInsecure())
    const { path, requestSerialize, responseDeserialize } = method('Generate')
    const numCalls = engine.calls.length
    let release = (): void => undefined
    engine.play(async function* (input, signal) {
      await new Promise<void>((resolve) => (release = resolve))
      yield* answer(input, signal)
    })
    const call = before.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { text: 'x' })
    const events = call.toArray()
    await eventually(() => engine.calls.length > numCalls, 'it runs')
    leaving.drain(60_000)
    await eventually(
      () => before.getChannel().getConnectivityState(false) === grpc.connectivityState.IDLE,
      'the connection takes no call',
    )
    release()
    assert.equal((await events).length, 4)
    before.close()
    await leaving.stop(0)
  })

  it('a deadline reaches the engine, and ends the call', async () => {
    engine.play(hang)
    const deadline = Date.now() + 300
    const error = await failure({ text: 'x' }, { deadline })
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED)
    assert.ok(Math.abs((engine.calls[0]?.deadlineMs ?? 0) - deadline) < 200)
    await eventually(() => engine.calls[0]?.hasEnded === true, 'the request is let go')
  })

  it('events are taken at the pace of the reader, who may leave', async () => {
    engine.play(flood(2000)) // 128 MB
    const call = stream({ text: 'x' })
    call.on('error', () => undefined) // its own cancel
    call.once('data', () => call.pause()) // (this client holds back only after a first read)
    const taken = (): number => engine.calls[0]?.numEvents ?? 0
    let last = -1
    await eventually(async () => {
      const isStill = taken() === last && taken() > 2
      last = taken()
      await new Promise((resolve) => setTimeout(resolve, 30))
      return isStill
    }, 'the door stops asking')
    assert.ok(taken() < 500, `${taken()} events for a reader of none`)
    call.cancel()
    await eventually(() => engine.calls[0]?.hasEnded === true, 'the request is let go')
  })

  describe('health', () => {
    const check = async (service: string): Promise<Message> => {
      const bytes = Buffer.from(protobuf.Writer.create().uint32(10).string(service).finish()) // HealthCheckRequest
      return new Promise((resolve, reject) => {
        const path = '/grpc.health.v1.Health/Check'
        const same = (value: Buffer): Buffer => value
        client.makeUnaryRequest(path, same, same, bytes, (error, reply) => {
          if (error === null) resolve({ status: reply?.[1] })
          else reject(error)
        })
      })
    }
    for (const service of ['', 'banyan.v1.InferenceService']) {
      it(`of '${service}' follows setServing`, async () => {
        assert.deepEqual(await check(service), { status: 1 }) // SERVING
        door.setServing(false)
        assert.deepEqual(await check(service), { status: 2 }) // NOT_SERVING
        door.setServing(true)
      })
    }
    it('of an unknown service is NOT_FOUND', () =>
      assert.rejects(check('other'), (error: grpc.ServiceError) => error.code === grpc.status.NOT_FOUND))
  })

  it('at an IPv6 address has it in brackets', async function () {
    if (!hasIpv6()) this.skip()
    const other = await startGrpcServer({ engine, host: '::1', port: 0, apiKeys: [], logger: silent })
    assert.match(other.address, /^\[::1\]:\d+$/)
    const client = new grpc.Client(other.address, grpc.credentials.createInsecure())
    await new Promise<void>((resolve, reject) =>
      client.waitForReady(Date.now() + 2000, (error) => (error === undefined ? resolve() : reject(error))),
    )
    client.close()
    await other.stop(0)
  })

  it('with keys: asks for one on every method of its own, not for health and reflection', async () => {
    const locked = await startGrpcServer({ engine, host: '127.0.0.1', port: 0, apiKeys: ['one'], logger: silent })
    const stranger = new grpc.Client(locked.address, grpc.credentials.createInsecure())
    const statusOf = (name: string, key?: string): Promise<grpc.status> => {
      const { path, requestSerialize, responseDeserialize } = method(name)
      const metadata = new grpc.Metadata()
      if (key !== undefined) metadata.set('authorization', `Bearer ${key}`)
      const call = stranger.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { text: 'x' },
        metadata,
      )
      return new Promise((resolve) => {
        call.on('error', () => undefined).on('status', ({ code }: grpc.StatusObject) => resolve(code))
        call.resume()
      })
    }
    for (const name of ['Generate', 'Resume', 'Cancel', 'GetModelInfo', 'GetServerInfo']) {
      assert.equal(await statusOf(name), grpc.status.UNAUTHENTICATED, name)
      assert.equal(await statusOf(name, 'two'), grpc.status.UNAUTHENTICATED, name)
    }
    assert.equal(await statusOf('Generate', 'one'), grpc.status.OK)
    const reflection = new GrpcReflection(locked.address, grpc.credentials.createInsecure())
    assert.ok((await reflection.listServices()).includes('grpc.health.v1.Health'))
    stranger.close()
    await locked.stop(0)
  })
})
