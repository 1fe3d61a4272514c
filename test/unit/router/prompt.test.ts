import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { createPromptReader } from '../../../services/router/prompt.js'
import { demoModel } from '../../helpers/paths.js'

const CONTROL = '<|endoftext|>' // id 0

describe('a prompt reader', () => {
  const checkpoint = openCheckpoint(demoModel)
  const reader = createPromptReader(checkpoint, systemClock)
  after(() => checkpoint.close())
  const chat = (...contents: string[]): Promise<readonly number[]> =>
    reader.prompt({ kind: 'chat', messages: contents.map((content) => ({ role: 'user', content })) })

  it('a control token spelled in a message stays text, and nothing of the text is lost', async () => {
    const contents = [`a${CONTROL}b \ue000 `, `${CONTROL}${CONTROL}`]
    const tokens = await chat(...contents)
    assert.ok(!tokens.includes(0))
    assert.equal(checkpoint.tokenizer?.decode(tokens), contents.join(''))
  })

  it('two messages do not make a control token together', async () => {
    const tokens = await chat('a<|endof', 'text|>', '<|endoftext', '|>  ')
    assert.ok(!tokens.includes(0))
    assert.equal(checkpoint.tokenizer?.decode(tokens), 'a<|endoftext|><|endoftext|>  ')
  })

  it('an ordinary chat is the template’s text, tokenised as one', async () => {
    assert.deepEqual(await chat('export ', 'interface'), checkpoint.tokenizer?.encode('export interface'))
  })

  it('text is never read for control tokens', async () => {
    assert.ok(!(await reader.text(`a${CONTROL}`)).includes(0))
  })

  describe('refuses what cannot fit before it is tokenised', () => {
    const isRefused = (field: string) => (error: unknown) =>
      error instanceof ClusterError && error.code === 'invalid_argument' && error.details.field === field
    const max = checkpoint.spec.maxPositions * 16

    it('a text', async () => {
      await assert.rejects(reader.text(' '.repeat(max + 1)), isRefused('prompt'))
      assert.ok((await reader.text('interface '.repeat(max / 10))).length > 0)
    })

    it('messages, together', () => assert.rejects(chat('a'.repeat(max / 2), 'a'.repeat(max / 2)), isRefused('prompt')))

    it('too many messages', () =>
      assert.rejects(chat(...Array.from({ length: max / 16 + 1 }, () => '')), isRefused('messages')))
  })
})
