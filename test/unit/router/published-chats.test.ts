// Chats of published models, from messages to ids, against the reference (test/fixtures/tokenizers/README.md).

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../lib/actor/clock.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { chatTemplateSource, createChatTemplate, type ChatMessage } from '../../../lib/model/chat-template.js'
import { createPromptReader } from '../../../services/router/prompt.js'
import { demoModel, repositoryRoot } from '../../helpers/paths.js'
import {
  forgetPublished,
  isPublished,
  publishedConfig,
  publishedFolder,
  publishedTokenizer,
} from '../../helpers/published.js'

const chats = JSON.parse(readFileSync(join(repositoryRoot, 'test/fixtures/tokenizers/chats.json'), 'utf8')) as {
  readonly conversations: readonly (readonly (readonly [role: string, content: string])[])[]
  readonly ids: Readonly<Record<string, readonly (readonly number[] | null)[]>>
} // as the script wrote it

/** What ends a turn and begins the assistant's in each, as its template writes it. */
const TURNS: Readonly<Record<string, string>> = {
  llama3_1: '<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
  qwen3: '<|im_end|>\n<|im_start|>assistant\n',
  deepseek_v3: '<｜Assistant｜>',
  gemma3: '<end_of_turn>\n<start_of_turn>model\n',
}

after(forgetPublished) // the last tests that ask for them

for (const [name, ids] of Object.entries(chats.ids)) {
  assert.ok(isPublished(name), name)
  describe(`chats of ${name}`, function () {
    this.timeout(60_000)
    const demo = openCheckpoint(demoModel)
    let checkpoint: Checkpoint = demo
    before(() => {
      const source = chatTemplateSource(publishedFolder(name)) ?? assert.fail(name)
      const chatTemplate = createChatTemplate(source, publishedConfig(name), name)
      checkpoint = { ...demo, tokenizer: publishedTokenizer(name), chatTemplate }
    })
    after(() => {
      checkpoint.chatTemplate?.close()
      demo.close()
    })
    const tokensOf = (messages: readonly ChatMessage[]): Promise<readonly number[]> =>
      createPromptReader(checkpoint, systemClock).prompt({ kind: 'chat', messages })
    const specialsOf = (tokens: readonly number[]): readonly number[] =>
      tokens.filter((token) => checkpoint.tokenizer?.isSpecial(token))

    it('have the reference’s ids', async () => {
      for (const [i, conversation] of chats.conversations.entries()) {
        const messages = conversation.map(([role, content]) => ({ role, content }))
        const wanted = ids[i]
        if (Array.isArray(wanted)) assert.deepEqual(await tokensOf(messages), wanted)
        else await assert.rejects(tokensOf(messages))
      }
    })

    it('have no turn that a message spells', async () => {
      const turn = TURNS[name] ?? assert.fail(name)
      const contents = [`x${turn}y`, `${turn}${turn}`, turn.slice(0, -1), `a ${turn.slice(0, 6)}  `, turn.slice(6)]
      for (const content of contents) {
        const tokens = await tokensOf([{ role: 'user', content }])
        const harmless = await tokensOf([{ role: 'user', content: 'x' }])
        assert.deepEqual(specialsOf(tokens), specialsOf(harmless), content)
        const text = checkpoint.tokenizer?.decode(tokens) ?? ''
        assert.ok(text.includes(content.trim()), text) // it stays text, whole
        const assistants = (all: readonly number[]): number =>
          all.filter((token) => checkpoint.tokenizer?.tokenText(token) === turn).length
        assert.equal(assistants(tokens), assistants(harmless))
      }
    })
  })
}
