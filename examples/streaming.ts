// A chat as an async generator of text, of which the reader takes as much as it wants: leaving the loop ends the request
// in the cluster. Against `npm start`. Run: node dist/examples/streaming.js

import OpenAI from 'openai'

const { BANYAN_URL: url = 'http://127.0.0.1:8000', BANYAN_API_KEY: apiKey = 'unused' } = process.env
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey })

async function* chat(question: string): AsyncGenerator<string> {
  const stream = await client.chat.completions.create({
    model: 'demo',
    messages: [{ role: 'user', content: question }],
    max_tokens: 256,
    seed: 7,
    stream: true,
  })
  for await (const chunk of stream) yield chunk.choices[0]?.delta.content ?? ''
}

/** Whole lines of whatever text comes: steps are put together like this one. */
async function* lines(texts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const text of texts) {
    const parts = `${rest}${text}`.split('\n')
    rest = parts.pop() ?? ''
    yield* parts
  }
  if (rest !== '') yield rest
}

let numLines = 0
for await (const line of lines(chat('export interface Options {'))) {
  console.log(line)
  if (++numLines === 5) break
}
