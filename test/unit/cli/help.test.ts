// What `--help` of a command tells of its flags.

import assert from 'node:assert/strict'
import { createProgram } from '../../../cli/program.js'

describe('the help of a command', () => {
  const program = createProgram(() => undefined)
  const describedBy = (command: string, flag: string): string =>
    program.commands.find((candidate) => candidate.name() === command)?.options.find(({ long }) => long === flag)
      ?.description ?? ''

  const cases: readonly [string, string, string][] = [
    ['up', '--weights', 'int8'],
    ['up', '--experts', '2'],
    ['up', '--transport', 'auto'],
    ['up', '--host', '127.0.0.1'],
    ['up', '--http', '8000'],
    ['up', '--grpc', '50051'],
    ['generate', '--replicas', '1'],
    ['logits', '--draft', 'auto'],
    ['serve', '--drain-seconds', '30'],
  ]
  for (const [command, flag, usual] of cases) {
    it(`${command} ${flag}: ${usual} by default`, () =>
      assert.ok(describedBy(command, flag).endsWith(`(default: ${usual})`), describedBy(command, flag)))
  }

  it('tells a default once', () => {
    const options = program.commands.find((candidate) => candidate.name() === 'up')?.options ?? []
    assert.ok(options.length > 50)
    for (const { description } of options) assert.ok((description.match(/default/g) ?? []).length <= 1, description)
  })
})
