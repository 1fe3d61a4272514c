// What a strict protobuf reader asks of descriptors (it refuses the whole file otherwise).

import { loadSync } from '@grpc/proto-loader'
import assert from 'node:assert/strict'
import { join } from 'node:path'
import descriptor from 'protobufjs/ext/descriptor/index.js'
import { withCompleteDescriptors } from '../../../services/router/grpc/reflection-descriptors.js'
import { repositoryRoot } from '../../helpers/paths.js'

interface Field {
  readonly name: string
  readonly jsonName?: string
  readonly typeName?: string
  readonly proto3Optional?: boolean
}

function samplingParams(): {
  readonly field: readonly Field[]
  readonly nestedType: readonly { readonly name: string }[]
} {
  const definition = loadSync('banyan/v1/inference.proto', {
    includeDirs: [join(repositoryRoot, 'proto')],
    keepCase: true,
  })
  const loaded = withCompleteDescriptors(definition)['banyan.v1.GenerateRequest']
  assert.ok(loaded !== undefined && 'fileDescriptorProtos' in loaded && Array.isArray(loaded.fileDescriptorProtos))
  const [bytes] = loaded.fileDescriptorProtos
  const file = descriptor.FileDescriptorProto.toObject(descriptor.FileDescriptorProto.decode(bytes ?? Buffer.alloc(0)))
  const messages = file.messageType as { name: string; field: Field[]; nestedType: { name: string }[] }[] // descriptor.proto's form
  return messages.find(({ name }) => name === 'SamplingParams') ?? assert.fail('SamplingParams')
}

describe('reflection descriptors', () => {
  const { field, nestedType } = samplingParams()
  const named = (name: string): Field => field.find((candidate) => candidate.name === name) ?? assert.fail(name)

  it('name the entry of a map field as the specification does', () => {
    assert.deepEqual(
      nestedType.map(({ name }) => name),
      ['LogitBiasEntry'],
    )
    assert.equal(named('logit_bias').typeName, 'LogitBiasEntry')
  })

  it('have JSON names', () => assert.equal(named('max_tokens').jsonName, 'maxTokens'))

  it('mark optional fields', () => {
    assert.equal(named('temperature').proto3Optional, true)
    assert.notEqual(named('ignore_eos').proto3Optional, true)
  })
})
